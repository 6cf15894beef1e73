/** Compiles the program that loads native plugins in advance: `npm run build:native`. */
import { builtDirectory, compileHost } from '../dist/src/plugins/native/host-program.js'

try {
  console.log(await compileHost(builtDirectory))
} catch (error) {
  console.error(error.message)
  process.exitCode = 1
}
