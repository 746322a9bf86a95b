;; A module without callbacks: what a host spends on a Wasm filter that never does anything.
(module
  (memory (export "memory") 1 1)
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "malloc") (param i32) (result i32) (i32.const 0)))
