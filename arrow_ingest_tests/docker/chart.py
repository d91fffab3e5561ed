"""Values of Dagster's Helm chart to what its templates make of them: the run launcher of ``dagster.yaml``.

The chart is in no package registry, so this follows its `templates/helpers/instance/_run-launcher.tpl` by hand.
"""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

RELEASE = "dagster"


def run_launcher_config(values: Mapping[str, Any]) -> dict[str, Any]:
    """The launcher's configuration, as the chart writes it into the instance's ConfigMap."""
    given: dict[str, Any] = deepcopy(values["runLauncher"]["config"]["k8sRunLauncher"])
    run_config = given.pop("runK8sConfig")
    config = {
        "load_incluster_config": given.pop("loadInclusterConfig"),
        "job_namespace": "default",
        "image_pull_policy": given.pop("imagePullPolicy"),
        "service_account_name": RELEASE,
        "dagster_home": values["global"]["dagsterHome"],
        "instance_config_map": f"{RELEASE}-instance",
        "postgres_password_secret": values["global"]["postgresqlSecretName"],
        "env_config_maps": [source["name"] for source in given.pop("envConfigMaps")],
        "env_secrets": [source["name"] for source in given.pop("envSecrets")],
        "env_vars": given.pop("envVars"),
        "volume_mounts": given.pop("volumeMounts"),
        "volumes": given.pop("volumes"),
        "fail_pod_on_run_failure": given.pop("failPodOnRunFailure"),
        "run_k8s_config": {
            "container_config": run_config.pop("containerConfig"),
            "pod_spec_config": run_config.pop("podSpecConfig"),
            "job_spec_config": run_config.pop("jobSpecConfig"),
        },
    }
    unknown = [*given, *run_config]
    assert not unknown, f"this knows nothing of {unknown}"
    return config
