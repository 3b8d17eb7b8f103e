//! `quorate-operator`: the Kubernetes operator that runs ChatClusters.

fn main() -> anyhow::Result<()> {
    quorate_operator::process::run_operator()
}
