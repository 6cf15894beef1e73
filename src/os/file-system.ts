import { access, statfs } from 'node:fs/promises'

/**
 * File systems whose calls wait for another machine or for a user's program, from the kernel's magic.h: FUSE,
 * NFS, SMB in three versions, Ceph, 9P, AFS, Coda, Lustre, OCFS2, GFS2.
 */
const remoteTypes = new Set([
  0x65735546, 0x6969, 0x517b, 0xff534d42, 0xfe534d42, 0x00c36400, 0x01021997, 0x5346414f, 0x73757245,
  0x0bd00bd0, 0x7461636f, 0x01161970,
])

/**
 * True where no call on an open file may be made on the event loop: a call that is fast today may wait for
 * minutes tomorrow. False where that cannot be determined.
 */
export function isRemote(fd: number): Promise<boolean> {
  return isRemotePath(`/proc/self/fd/${fd}`)
}

export async function isRemotePath(path: string | Buffer): Promise<boolean> {
  try {
    return remoteTypes.has((await statfs(path)).type)
  } catch {
    return false
  }
}

/** False also where the file cannot be seen. Asynchronous because the directory may be on a slow disk. */
export function fileExists(path: string | Buffer): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  )
}
