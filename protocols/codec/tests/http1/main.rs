//! What HTTP/1 bytes mean and what is made of them: tables, outside judges and the fuzz corpus.
mod bodies;
mod check;
mod corpus;
mod encoders;
mod judges;
mod limits;
mod requests;
mod responses;
