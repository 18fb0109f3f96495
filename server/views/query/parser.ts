/**
 * PostgreSQL's own parser: what a text means is decided by the code that the database has, not by a look-alike, whose
 * differences would be holes.
 *
 * - The text is bounded before: the grammar takes some ten thousand levels of nesting, and printing the tree recurses.
 * - Whatever goes wrong in WebAssembly other than a refusal of the text (its stack or memory at an end) leaves the
 *   instance in a state that nobody knows: it is dropped, and the next text has a new one (30 ms).
 *
 * Rejected: the package's own `parse`, which has one instance for ever; parsers written in JavaScript, which know another
 * language than PostgreSQL.
 */
import instantiate, { type ParserModule } from 'libpg-query/wasm/libpg-query.js'

/** Of a statement. Its parser uses about 10 KiB for each byte at worst. */
export const sqlBytesMax = 32 * 1024

export type ParseOutcome =
  | { readonly tree: unknown }
  /** `position`: of a character, from 1. */
  | { readonly refused: string; readonly position: number | null }

export class Parser {
  private module: Promise<ParserModule> | null = null

  async parse(text: string): Promise<ParseOutcome> {
    this.module ??= instantiate()
    const module = await this.module
    try {
      return parseWith(module, text)
    } catch (error) {
      // RangeError: the stack. RuntimeError: the memory.
      if (!(error instanceof RangeError) && !(error instanceof WebAssembly.RuntimeError)) throw error
      this.module = null
      return { refused: 'the statement is nested too deeply', position: null }
    }
  }
}

function parseWith(module: ParserModule, text: string): ParseOutcome {
  const bytes = module.lengthBytesUTF8(text) + 1
  const input = module._malloc(bytes)
  module.stringToUTF8(text, input, bytes)
  const result = module._wasm_parse_query_raw(input)
  const tree = module.getValue(result, 'i32')
  const failure = module.getValue(result + 8, 'i32')
  const outcome: ParseOutcome =
    failure === 0
      ? { tree: JSON.parse(module.UTF8ToString(tree)) }
      : {
          refused: module.UTF8ToString(module.getValue(failure, 'i32')),
          position: module.getValue(failure + 16, 'i32') || null,
        }
  module._wasm_free_parse_result(result)
  module._free(input)
  return outcome
}
