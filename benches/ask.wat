;; Asks for two headers, the second one missing, and lets every request pass. `lab cost allocation` compares it with the
;; same module that asks for the first one twice: the difference is what a host takes to deliver a value, its call of
;; the allocator included.
;;
;; Memory: 8 the lent buffer, 16 the value's size, 20 its address, 24 the names.
(module
  (import "env" "proxy_get_header_map_value"
    (func $get (param i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1 1)
  (data (i32.const 24) "allow" "other")
  (func (export "malloc") (export "proxy_abi_version_0_2_1") (param i32) (result i32)
    (i32.const 8))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (drop (call $get (i32.const 0) (i32.const 24) (i32.const 5) (i32.const 20) (i32.const 16)))
    (drop (call $get (i32.const 0) (i32.const 29) (i32.const 5) (i32.const 20) (i32.const 16)))
    (i32.const 0)))
