//! Tasks that end together with their owner.

use tokio::task::JoinHandle;

/// Group of tasks that are aborted when it is dropped.
#[derive(Debug, Default)]
pub(crate) struct TaskGroup(Vec<JoinHandle<()>>);

impl TaskGroup {
    pub(crate) fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.0.push(tokio::spawn(task));
    }
}

impl Drop for TaskGroup {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}
