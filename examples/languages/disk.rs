//! A disk in memory. What is written may be a word to the server: soft, force, refuse or shutdown.
//!
//!     rustc --crate-type cdylib -o disk.so disk.rs
//!     nbdkit-ts ./disk.so
//!
//! It needs no crate: this is the interface of nbdkit-plugin.h, as far as it is used here.

use std::os::raw::{c_char, c_int, c_void};
use std::ptr::null;
use std::sync::Mutex;

const SIZE: usize = 1024 * 1024;
const ESHUTDOWN: c_int = 108;
const SERIALIZE_ALL_REQUESTS: c_int = 1;

static DISK: Mutex<[u8; SIZE]> = Mutex::new([0; SIZE]);

extern "C" {
    fn nbdkit_shutdown();
    fn nbdkit_disconnect(force: c_int);
    fn nbdkit_error(message: *const c_char, ...);
    fn nbdkit_set_error(errno: c_int);
}

/// `struct nbdkit_plugin` of API version 2. What is not used is a null pointer.
#[repr(C)]
struct Plugin {
    struct_size: u64,
    api_version: c_int,
    thread_model: c_int,
    name: *const c_char,
    // longname, version, description, load, unload, config, config_complete, config_help
    unused_1: [*const c_void; 8],
    open: extern "C" fn(c_int) -> *mut c_void,
    close: *const c_void,
    get_size: extern "C" fn(*mut c_void) -> i64,
    // can_write, can_flush, is_rotational, can_trim, and five functions of version 1
    unused_2: [*const c_void; 9],
    errno_is_preserved: c_int,
    // dump_plugin, can_zero, can_fua
    unused_3: [*const c_void; 3],
    pread: extern "C" fn(*mut c_void, *mut u8, u32, u64, u32) -> c_int,
    pwrite: extern "C" fn(*mut c_void, *const u8, u32, u64, u32) -> c_int,
    flush: extern "C" fn(*mut c_void, u32) -> c_int,
}
unsafe impl Sync for Plugin {}

static PLUGIN: Plugin = Plugin {
    struct_size: std::mem::size_of::<Plugin>() as u64,
    api_version: 2,
    thread_model: SERIALIZE_ALL_REQUESTS,
    name: b"disk\0".as_ptr() as *const c_char,
    unused_1: [null(); 8],
    open,
    close: null(),
    get_size,
    unused_2: [null(); 9],
    errno_is_preserved: 0,
    unused_3: [null(); 3],
    pread,
    pwrite,
    flush,
};

#[no_mangle]
extern "C" fn plugin_init() -> *const Plugin {
    &PLUGIN
}

extern "C" fn open(_readonly: c_int) -> *mut c_void {
    // Any pointer that is not null will do.
    &PLUGIN as *const Plugin as *mut c_void
}

extern "C" fn get_size(_handle: *mut c_void) -> i64 {
    SIZE as i64
}

extern "C" fn pread(_handle: *mut c_void, buf: *mut u8, count: u32, offset: u64, _flags: u32) -> c_int {
    let target = unsafe { std::slice::from_raw_parts_mut(buf, count as usize) };
    let offset = offset as usize;
    target.copy_from_slice(&DISK.lock().unwrap()[offset..offset + target.len()]);
    0
}

extern "C" fn pwrite(_handle: *mut c_void, buf: *const u8, count: u32, offset: u64, _flags: u32) -> c_int {
    let data = unsafe { std::slice::from_raw_parts(buf, count as usize) };
    let offset = offset as usize;
    if data.starts_with(b"shutdown") {
        unsafe { nbdkit_shutdown() };
    } else if data.starts_with(b"force") {
        unsafe { nbdkit_disconnect(1) };
    } else if data.starts_with(b"soft") {
        unsafe { nbdkit_disconnect(0) };
    } else if data.starts_with(b"refuse") {
        unsafe {
            nbdkit_disconnect(0);
            nbdkit_error(b"the disk takes no more\0".as_ptr() as *const c_char);
            nbdkit_set_error(ESHUTDOWN);
        }
        return -1;
    } else {
        DISK.lock().unwrap()[offset..offset + data.len()].copy_from_slice(data);
    }
    0
}

extern "C" fn flush(_handle: *mut c_void, _flags: u32) -> c_int {
    0
}
