/**
 * Reads TypeScript just well enough to tell code from comments and strings, so that a rule about code does not stumble over a
 * sentence. Every character keeps its place: what is blanked becomes spaces, lines stay lines.
 */
export interface SourceText {
  /** Comments blanked; strings as they are. */
  readonly withoutComments: string
  /** Comments and the content of strings, templates and regular expressions blanked. */
  readonly codeOnly: string
}

/** After one of these a slash begins a regular expression, not a division. */
const BEFORE_EXPRESSION = /(?:^|[(,=:[!&|?{};+*%~^<>-]|\b(?:return|typeof|case|in|of|do|else|void|throw|await))\s*$/

export function sourceText(text: string): SourceText {
  const noComments = [...text]
  const code = [...text]
  const blank = (into: string[], from: number, to: number): void => {
    for (let i = from; i < to; i++) if (into[i] !== '\n') into[i] = ' '
  }
  /** For each open `${`, the depth of braces at which it closes. */
  const templates: number[] = []
  let depth = 0
  let at = text.startsWith('#!') ? lineEnd(text, 0) : 0
  if (at > 0) blank(noComments, 0, at)
  if (at > 0) blank(code, 0, at)
  const templatePart = (from: number): number => {
    let end = from
    while (end < text.length && text[end] !== '`') {
      if (text[end] === '$' && text[end + 1] === '{') {
        blank(code, from, end)
        templates.push(depth++)
        return end + 2
      }
      end += text[end] === '\\' ? 2 : 1
    }
    blank(code, from, end)
    return end + 1
  }
  while (at < text.length) {
    const two = text.slice(at, at + 2)
    const character = text[at]!
    if (two === '//' || two === '/*') {
      const close = two === '//' ? lineEnd(text, at) : text.indexOf('*/', at + 2) + 2
      const end = close < at + 2 ? text.length : close
      blank(noComments, at, end)
      blank(code, at, end)
      at = end
    } else if (character === "'" || character === '"') {
      const end = closing(text, at + 1, character)
      blank(code, at + 1, end)
      at = end + 1
    } else if (character === '`') at = templatePart(at + 1)
    else if (character === '/' && BEFORE_EXPRESSION.test(code.slice(Math.max(0, at - 40), at).join(''))) {
      const end = regularExpressionEnd(text, at + 1)
      blank(code, at + 1, end)
      at = end + 1
    } else {
      if (character === '{') depth++
      if (character === '}') {
        depth--
        if (templates.at(-1) === depth) {
          templates.pop()
          at = templatePart(at + 1)
          continue
        }
      }
      at++
    }
  }
  return { withoutComments: noComments.join(''), codeOnly: code.join('') }
}

/** The line of a position, from 1. */
export function lineAt(text: string, position: number): number {
  let line = 1
  for (let i = 0; i < position; i++) if (text.charCodeAt(i) === 10) line++
  return line
}

function lineEnd(text: string, from: number): number {
  const end = text.indexOf('\n', from)
  return end < 0 ? text.length : end
}

function closing(text: string, from: number, quote: string): number {
  let end = from
  while (end < text.length && text[end] !== quote && text[end] !== '\n') end += text[end] === '\\' ? 2 : 1
  return end
}

function regularExpressionEnd(text: string, from: number): number {
  let inClass = false
  let end = from
  for (; end < text.length && text[end] !== '\n'; end++) {
    if (text[end] === '\\') end++
    else if (text[end] === '[') inClass = true
    else if (text[end] === ']') inClass = false
    else if (text[end] === '/' && !inClass) break
  }
  return end
}
