package config_test

import "testing"

func TestPlacementFaults(t *testing.T) {
	for _, test := range []struct{ text, fault string }{
		{"placement: {weights: {price: 10}}", ""},
		{"placement: {weights: {price: -1}}", "placement.weights.price: must be at least 0"},
		{"placement: {weights: {expectedWait: 0, freeShare: 0, price: 0, locality: 0, recentFailures: 0}}", "placement.weights: all are 0"},
		{"placement: {reserveAfter: 48h}", "placement.reserveAfter: must be at most 24h"},
		{"policy: {maxPods: -1}", "policy.maxPods: must be at least 0"},
		{"policy: {maxResources: {nvidia.com/gpu: 8}}", ""},
		{"policy: {allowPrivileged: maybe}", "policy.allowPrivileged: true or false expected"},
	} {
		wantFault(t, test.text, test.fault)
	}
}
