/** The module beneath the package's own `parse`: as many instances as wanted, of PostgreSQL's parser in WebAssembly. */
declare module 'libpg-query/wasm/libpg-query.js' {
  export interface ParserModule {
    _malloc(bytes: number): number
    _free(pointer: number): void
    lengthBytesUTF8(text: string): number
    stringToUTF8(text: string, pointer: number, bytesMax: number): void
    UTF8ToString(pointer: number): string
    getValue(pointer: number, type: 'i32'): number
    /** Of a struct of pointers: tree as JSON, what was printed, error. */
    _wasm_parse_query_raw(text: number): number
    _wasm_free_parse_result(result: number): void
  }
  const instantiate: () => Promise<ParserModule>
  export default instantiate
}
