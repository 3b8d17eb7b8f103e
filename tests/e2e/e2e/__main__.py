"""usage: python3 -m e2e [--only WORDS]  (run by tests/e2e/run, which prepares binaries and images)

Brings up a local Kubernetes of its own, installs Quorate as a user would, and plays the faults.
  --only WORDS  only the steps whose title contains WORDS (installation is always done)
  --name NAME   name of the local Kubernetes (e2e)
Environment: KEEP=1 leaves the cluster standing.
"""

import argparse
import os
import pathlib
import sys

from . import alerts, install, losses, metrics, refusals, volumes, wrong_specs
from .lab import Lab
from .report import Report
from .world import World

# Four nodes: three for the pods, and room for one to be rescheduled.
NODES, PORT = 4, 6460

STEPS = [
    ("the operator is installed and a ChatCluster becomes Available", install.install),
    ("what an idle pod costs", install.idle_memory),
    ("Prometheus records what happens from here on", alerts.begin),
    ("invalid resources are refused with a message that says what to do", refusals.invalid_resources),
    ("the leader is lost six times under load: nothing lost, doubled or reordered", losses.losses_of_the_leader),
    ("the leader is lost while the operator is away", losses.loss_without_the_operator),
    ("a follower, then the leader, lose their volumes and are replaced", volumes.lost_volumes),
    ("all three pods are deleted at once", volumes.all_pods_at_once),
    ("a setting reaches every pod before Ready says so", wrong_specs.every_pod_gets_the_setting),
    ("no pod may be made for a moment", wrong_specs.no_pod_may_be_made),
    ("a refused object stops nothing else", wrong_specs.a_refused_object_stops_nothing_else),
    ("an image that is not there is named, and the former one heals", wrong_specs.an_image_that_is_not_there),
    ("a first pod that no node takes is helped before the others", wrong_specs.a_first_pod_that_no_node_takes),
    ("a claim of somebody else is not used", wrong_specs.a_claim_of_somebody_else),
    ("a name may be used again when the data was to go", wrong_specs.a_name_may_be_used_again),
    ("a node crashes and one is cut off", volumes.lost_nodes),
    ("the main alerts fire for what happened, and end", alerts.fire_and_end),
    ("Prometheus answers every panel of the dashboards", metrics.every_panel_answers),
]


def diagnose(world):
    """What someone would ask for next."""
    for args in (("get", "chatclusters,pods,persistentvolumeclaims", "--output", "wide"), ("get", "events", "--sort-by=.lastTimestamp"),
                 ("get", "chatcluster", world.name, "--output", "yaml")):
        try:
            print(f"--- kubectl {' '.join(args)}\n{world.kubectl.run(*args)[-6000:]}")
        except Exception as error:  # noqa: BLE001: the first failure is what counts
            print(error)
    for pod, namespace in [(p, world.namespace) for p in ("team-0", "team-1", "team-2")]:
        try:
            print(f"--- log of {pod}\n{world.kubectl.run('logs', pod, '--namespace', namespace, '--tail=40')[-5000:]}")
        except Exception as error:  # noqa: BLE001
            print(error)
    try:
        print(f"--- log of the operator\n{world.kubectl.run('logs', '--selector', 'app.kubernetes.io/name=quorate-operator', '--namespace', world.operator_namespace, '--tail=60')[-8000:]}")
    except Exception as error:  # noqa: BLE001
        print(error)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="")
    parser.add_argument("--name", default="e2e")
    parser.add_argument("--binaries", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--image", action="append", default=[], help=argparse.SUPPRESS)
    parser.add_argument("--archive", action="append", default=[], help=argparse.SUPPRESS)
    args = parser.parse_args()
    images = {ref.rsplit("/", 1)[-1].rsplit(":", 1)[0]: ref for ref in args.image}
    cache = pathlib.Path(os.environ["QUORATE_CACHE"])
    report = Report(cache / "reports/e2e.json")
    for archive in args.archive:
        report.note(f"image {pathlib.Path(archive).name}", round(os.stat(archive).st_size / 1e6, 1), "MB")
    with Lab(args.name, NODES, PORT) as lab:
        lab.load(*args.archive)
        world = World(lab, report, args.binaries, images)
        try:
            for title, step in STEPS:
                if step is install.install or args.only in title:
                    with report.step(title):
                        step(world)
        except Exception:
            diagnose(world)
            raise
        finally:
            if getattr(world, "prometheus", None):
                world.prometheus.close()
            report.write()


if __name__ == "__main__":
    sys.exit(main())
