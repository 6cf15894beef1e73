/**
 * Parses an integer of any size as C does: decimal, hexadecimal (`0x…`) or octal (`0…`), without a sign.
 * Undefined for any other text. For offsets and keys of 64 bits, which a number cannot hold.
 */
export function parseBigInteger(text: string): bigint | undefined {
  if (!/^(0x[0-9a-f]+|0[0-7]*|[1-9]\d*)$/i.test(text)) return undefined
  return BigInt(text.replace(/^0(?=[0-7])/, '0o'))
}
