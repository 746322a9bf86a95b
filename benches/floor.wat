;; The floor: the committed policy's rule, written by hand for the fewest bytes and instructions, with every
;; check of the Rust plugin. The Rust plugin's cost is measured against it.
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

  ;; The buffer for four bytes; an address outside memory for any other size. Hosts look for the version
  ;; marker and never call it, so it can be a second name of the allocator.
  (func (export "malloc") (export "proxy_abi_version_0_2_1") (param $size i32) (result i32)
    (select (i32.const 8) (i32.const 0x7fff0000) (i32.eq (local.get $size) (i32.const 4))))

  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    ;; Clear what an earlier request left.
    (i64.store (i32.const 8) (i64.const 0))
    (i32.store (i32.const 16) (i32.const 0))
    (if (result i32)
      (i32.or
        (i32.or
          (call $get (i32.const 0) (i32.const 20) (i32.const 5) (i32.const 16) (i32.const 12))
          (i32.xor (i32.load (i32.const 16)) (i32.const 8)))
        ;; "true" and a size of four in one word.
        (i64.ne (i64.load (i32.const 8)) (i64.const 0x465757274)))
      (then
        (drop (call $send
          (i32.const 403) (i32.const 0) (i32.const 0) (i32.const 61) (i32.const 43)
          (i32.const 25) (i32.const 36) (i32.const -1)))
        (i32.const 1))
      (else (i32.const 0)))))
