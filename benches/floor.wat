;; The floor: the committed policy's rule as a person writes it who counts bytes and instructions,
;; with every check of the Rust plugin. What the Rust plugin costs is measured against this.
;;
;; Memory: 8 the lent buffer (4 bytes), 12 the value's size, 16 its address, 20 the constants.
(module
  (import "env" "proxy_get_header_map_value"
    (func $get (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_send_local_response"
    (func $send (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1 1)
  (data (i32.const 20)
    "allow"
    "\01\00\00\00" "\0c\00\00\00" "\0a\00\00\00" "Content-Type\00" "text/plain\00"
    "Forbidden by ASM Wasm Plugin, rust version\n")

  (func (export "proxy_abi_version_0_2_1"))

  ;; The buffer for four bytes; any other size gets an address behind the only page.
  (func (export "malloc") (param $size i32) (result i32)
    (select (i32.const 8) (i32.const 65536) (i32.eq (local.get $size) (i32.const 4))))

  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    ;; Continue. It waits below until the end.
    (i32.const 0)
    ;; Nothing of an earlier request may be left.
    (i64.store (i32.const 8) (i64.const 0))
    (i32.store (i32.const 16) (i32.const 0))
    ;; To the end with it, if nothing is wrong with status and address, which is 0, and that is less
    ;; than the 1 of an equal value: "true" and a size of four in one word.
    (br_if 0 (i32.lt_u
      (i32.or
        (call $get (i32.const 0) (i32.const 20) (i32.const 5) (i32.const 16) (i32.const 12))
        (i32.xor (i32.load (i32.const 16)) (i32.const 8)))
      (i64.eq (i64.load (i32.const 8)) (i64.const 0x465757274))))
    (call $send
      (i32.const 403) (i32.const 0) (i32.const 0) (i32.const 61) (i32.const 43)
      (i32.const 25) (i32.const 36) (i32.const -1))
    ;; 0 is at most any status, so this is 1: Pause.
    (i32.le_u)))
