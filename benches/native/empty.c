// A dynamic module that lets every request pass: what Envoy takes for any module.

#include "abi.h"

IGNORED(request_headers)
