/** The HTTP face described for machines. A test compares the paths with what the gateway answers. */
import { PAGE_FILES } from './page-files.ts'

const json = (description: string) => ({ description, content: { 'application/json': { schema: { type: 'object' } } } })
const html = (description: string) => ({ description, content: { 'text/html': { schema: { type: 'string' } } } })
const text = (description: string) => ({ description, content: { 'text/plain': { schema: { type: 'string' } } } })

export const openApi = {
  openapi: '3.1.0',
  info: {
    title: 'Tidemark',
    version: '0.1.0',
    description: 'What one node of a Tidemark cluster says about itself and the cluster. Read only.',
  },
  paths: {
    '/': { get: { summary: 'The live page', responses: { 200: html('the page') } } },
    '/dashboard/{file}': {
      get: {
        summary: 'What the page is made of',
        parameters: [{ name: 'file', in: 'path', required: true, schema: { type: 'string', enum: PAGE_FILES } }],
        responses: { 200: { description: 'script or style' }, 404: json('an error') },
      },
    },
    '/health/live': { get: { summary: 'The process runs', responses: { 200: text('live') } } },
    '/health/ready': {
      get: {
        summary: 'The node can serve its shards',
        responses: { 200: text('ready'), 503: text('what it waits for') },
      },
    },
    '/metrics': { get: { summary: 'Metrics in Prometheus text format', responses: { 200: text('metrics') } } },
    '/api/node': {
      get: {
        summary: 'This node: its replicas with role, term, leader and marks',
        responses: { 200: json('NodeStatus') },
      },
    },
    '/api/openapi.json': { get: { summary: 'This description', responses: { 200: json('OpenAPI 3.1') } } },
    '/api/cluster': {
      get: {
        summary: 'The whole cluster: nodes, shards, leaders, terms, marks, lag',
        responses: { 200: json('ClusterStatus') },
      },
    },
  },
} as const
