//! Code that is generated from `bench/proto`.

pub(crate) mod bare {
    #![allow(clippy::all, clippy::pedantic, missing_docs, unreachable_pub, dead_code, unused_qualifications)]
    tonic::include_proto!("bare");
}

pub(crate) mod etcd {
    #![allow(clippy::all, clippy::pedantic, missing_docs, unreachable_pub, dead_code, unused_qualifications)]
    tonic::include_proto!("etcdserverpb");
}
