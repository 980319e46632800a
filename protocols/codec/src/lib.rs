//! Sans-IO protocols: bytes to parts and parts to bytes
