import { nodePlatform } from '../nodejs/index.ts'
import { randomContract } from './random.ts'

randomContract('node.js random', () => nodePlatform().random)
