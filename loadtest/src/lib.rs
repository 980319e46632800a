//! Load generation for HTTP proxies
