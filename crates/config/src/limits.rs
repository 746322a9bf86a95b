//! How much a policy may have. Both readers keep to these limits.

/// Maximum size of one accepted value; and of all of them, each padded to the longest.
pub const VALUES_SIZE: usize = 4096;
/// Maximum number of accepted values: in a module of its policy each adds bytes and is compared on every request.
pub const VALUES: usize = 256;
/// Maximum size of a client's value, and the longest that is hashed if a size is not known.
pub const CLIENT_VALUE: usize = 256;
/// Maximum size of a client's id.
pub const ID: usize = 128;
/// Maximum size of the body.
pub const BODY: usize = 16 * 1024;
/// Maximum size of the denial's headers in serialized form.
pub const HEADERS: usize = 8 * 1024;
/// Maximum size of a field name and of the details.
pub const NAME: usize = 256;
/// Maximum number of exempt methods and of exempt paths: each is compared before a request is denied.
pub const EXCEPT: usize = 64;
/// Maximum size of an exempt method.
pub const METHOD: usize = 32;
/// Maximum size of all exempt paths.
pub const PATHS: usize = 4096;

/// Maximum size of a configuration that is read at run time.
pub const TEXT: usize = 64 << 10;
/// Maximum number of values or clients of a configuration that is read at run time.
pub const ITEMS: usize = 1000;
