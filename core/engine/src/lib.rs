//! From listen to upstream: connections, exchanges, pools and the commit
