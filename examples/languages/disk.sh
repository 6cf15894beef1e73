#!/bin/sh
# A disk in a file. What is written may be a word to the server: soft, force, refuse or shutdown.
disk=$tmpdir/disk
case "$1" in
  get_ready) truncate -s 1M "$disk" ;;
  get_size) echo 1M ;;
  can_write | can_flush) exit 0 ;;
  pread) dd if="$disk" skip="$4" count="$3" iflag=skip_bytes,count_bytes status=none ;;
  flush) ;;
  pwrite)
    cat > "$tmpdir/data"
    case "$(head -c 8 "$tmpdir/data" | tr -d '\0')" in
      shutdown) exit 4 ;;
      force*) exit 6 ;;
      soft*) exit 7 ;;
      refuse*) echo 'ESHUTDOWN the disk takes no more' >&2; exit 8 ;;
    esac
    dd of="$disk" seek="$4" conv=notrunc oflag=seek_bytes status=none < "$tmpdir/data"
    ;;
  *) exit 2 ;;
esac
