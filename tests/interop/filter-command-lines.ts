/** Command lines for filters of nbdkit 1.32: each of their parameters, right and wrong. */
import { lines } from './command-lines.js'

export const filterCommandLines = lines(`
  -U - --filter=blocksize-policy null --run 'echo ok'
  -U - --filter=blocksize-policy null 1M blocksize-minimum=4k --run 'nbdinfo "$uri" | grep block_size_min'
  -U - --filter=blocksize-policy null 1M blocksize-minimum=1k --run 'nbdinfo "$uri" | grep block_size_min'
  -f --filter=blocksize-policy null blocksize-error-policy=x
  -f --filter=blocksize-policy null blocksize-minimum=3
  -f --filter=blocksize-policy null blocksize-minimum=128k
  -f --filter=blocksize-policy null blocksize-preferred=256
  -f --filter=blocksize-policy null blocksize-preferred=64M
  -f --filter=blocksize-policy null blocksize-preferred=4k blocksize-maximum=512
  -f --filter=blocksize-policy null blocksize-minimum=4k blocksize-preferred=512
  -f --filter=blocksize-policy null blocksize-maximum=4G
  -U - --filter=checkwrite null --run 'echo ok'
  -U - --filter=exportname null exportname-list=default-only exportname=a exportname=b --run 'echo ok'
  -U - --filter=exportname null exportname_list=empty default_export=a exportname_strict=1 --run 'echo ok'
  -f --filter=exportname null exportname-list=x
  -f --filter=exportname null exportname-strict=x
  -f --filter=exportname null exportdesc=x
  -f --filter=exportname null exportdesc=keep:
  -f --filter=extentlist null
  -f --filter=extentlist null extentlist=nowhere
  -f --filter=extentlist null extentlist=text
  -U - --filter=protect null --run 'echo ok'
  -U - --filter=protect null protect=0-511 protect=~512- protect=- --run 'echo ok'
  -f --filter=protect null protect=
  -f --filter=protect null protect=511
  -f --filter=protect null protect=511-0
  -f --filter=protect null protect=1k-2k
  -U - --filter=tls-fallback null --run 'echo ok'
  -U - --filter=tls-fallback memory 1M tlsreadme=hi --run 'nbdinfo --size "$uri"'
  -f --filter=tls-fallback --filter=noparallel null serialize=connections
`)
