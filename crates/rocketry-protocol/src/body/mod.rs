//! JSON bodies, one kind per file; `fastjson` alone knows the dialect that is not JSON.
