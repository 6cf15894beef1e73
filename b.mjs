import { definePlugin } from 'nbdkit-ts'
export default definePlugin({
  name: 'my-disk',
  description: 'x',
  setup() {
    return {
      open() {
        undefined.x
      },
    }
  },
})
