export { zeroes } from '../api/zeroes.js'
