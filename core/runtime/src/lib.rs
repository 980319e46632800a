//! One executor per core over two drivers, ring (io_uring) and poll (epoll)
