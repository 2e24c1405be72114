/**
 * The four files of prom-client that are needed. Its front door also loads what a node never uses (a push gateway, the
 * process' default metrics, aggregation over workers), which took a tenth of the time that a node needs to start.
 */
import { createRequire } from 'node:module'

type Library = typeof import('prom-client')

const require = createRequire(import.meta.url)

export const Registry = require('prom-client/lib/registry') as Library['Registry']
export const Counter = require('prom-client/lib/counter') as Library['Counter']
export const Gauge = require('prom-client/lib/gauge') as Library['Gauge']
export const Histogram = require('prom-client/lib/histogram') as Library['Histogram']
