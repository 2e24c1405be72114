/** Bytes that no client library sends: written to a bare socket, to see whether the broker answers, closes or waits. */
import net from 'node:net'

export interface Reaction {
  readonly closed: boolean
  /** All that came back. */
  readonly answer: Buffer
}

/** Sends the bytes; what comes within `patienceMs`, or until the broker closes. `end`: half-close after sending. */
export function provoke(broker: string, bytes: Buffer, { end = false, patienceMs = 1000 } = {}): Promise<Reaction> {
  const at = broker.lastIndexOf(':')
  const socket = net.connect({ host: broker.slice(0, at), port: Number(broker.slice(at + 1)) })
  const chunks: Buffer[] = []
  return new Promise((resolve) => {
    let closed = false
    const done = (): void => {
      clearTimeout(patience)
      socket.destroy()
      resolve({ closed, answer: Buffer.concat(chunks) })
    }
    const patience = setTimeout(done, patienceMs)
    socket.on('connect', () => (end ? socket.end(bytes) : socket.write(bytes)))
    socket.on('data', (chunk: Buffer) => {
      chunks.push(chunk)
      const all = Buffer.concat(chunks)
      if (all.length >= 4 && all.length >= 4 + all.readInt32BE(0)) done()
    })
    socket.on('error', () => {})
    socket.on('close', () => {
      closed = true
      done()
    })
    socket.on('end', () => {
      closed = true
      done()
    })
  })
}

/** A request frame of any key and version, with a classic header. */
export function frame(apiKey: number, apiVersion: number, body: Buffer, correlationId = 7): Buffer {
  const header = Buffer.alloc(10)
  header.writeInt16BE(apiKey, 0)
  header.writeInt16BE(apiVersion, 2)
  header.writeInt32BE(correlationId, 4)
  header.writeInt16BE(-1, 8)
  return framed(Buffer.concat([header, body]))
}

export function framed(bytes: Buffer, announced = bytes.length): Buffer {
  const length = Buffer.alloc(4)
  length.writeInt32BE(announced)
  return Buffer.concat([length, bytes])
}
