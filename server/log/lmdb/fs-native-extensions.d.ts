/** The part of fs-native-extensions we use; the package has no types of its own. */
declare module 'fs-native-extensions' {
  const extensions: {
    /** An exclusive kernel lock on the whole file; false when another descriptor holds it. */
    tryLock(fd: number): boolean
  }
  export default extensions
}
