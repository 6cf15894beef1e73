(* A disk in memory. What is written may be a word to the server: soft, force, refuse or shutdown.
 *
 *   ocamlopt -output-obj -runtime-variant _pic -o disk.so disk.ml ocaml-glue.c
 *   nbdkit-ts ./disk.so
 *
 * ocaml-glue.c stands between these functions and the C interface of a plugin.
 *)

external shutdown : unit -> unit = "glue_shutdown"
external disconnect : bool -> unit = "glue_disconnect"

exception Shut_down of string

let disk = Bytes.make (1024 * 1024) '\000'

let starts_with word data =
  let length = String.length word in
  Bytes.length data >= length && Bytes.sub_string data 0 length = word

let get_size () = Bytes.length disk
let pread count offset = Bytes.sub disk offset count

let pwrite data offset =
  if starts_with "shutdown" data then shutdown ()
  else if starts_with "force" data then disconnect true
  else if starts_with "soft" data then disconnect false
  else if starts_with "refuse" data then begin
    disconnect false;
    raise (Shut_down "the disk takes no more")
  end
  else Bytes.blit data 0 disk offset (Bytes.length data)

let () =
  Callback.register_exception "Shut_down" (Shut_down "");
  Callback.register "get_size" get_size;
  Callback.register "pread" pread;
  Callback.register "pwrite" pwrite
