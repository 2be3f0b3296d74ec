# Reads a Prometheus exposition from standard input by the parser of Prometheus' own client library, and prints what it
# found as JSON: {family: {type, help, samples: [[name, labels, value]]}}. Its wheel is on PYTHONPATH.
import json
import sys

from prometheus_client.parser import text_string_to_metric_families

found = {}
for family in text_string_to_metric_families(sys.stdin.read()):
    samples = [[s.name, s.labels, s.value] for s in family.samples]
    assert family.name not in found, family.name
    found[family.name] = {"type": family.type, "help": family.documentation, "samples": samples}
json.dump(found, sys.stdout)
