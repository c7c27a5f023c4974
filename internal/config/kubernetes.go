package config

import "time"

// Kubernetes is what an agent with the Kubernetes runtime is told of its
// region. Zero stands for the default.
type Kubernetes struct {
	Kubeconfig    string        `json:"kubeconfig" doc:"File that says how to reach the cluster. Empty: the pod's own credentials, or else KUBECONFIG and the file in the home directory."`
	Context       string        `json:"context" doc:"Context of that file. Empty: its current one."`
	Namespace     string        `json:"namespace" doc:"Namespace of the agent's own, where it keeps the Lease that its replicas share. Empty: gco-system."`
	Checkpoints   string        `json:"checkpoints" doc:"Where jobs keep checkpoints, such as s3://bucket/prefix. Each job gets a prefix of its own below it, as GCO_CHECKPOINT. Empty: jobs get none."`
	Provisionable []Node        `json:"provisionable" doc:"Nodes that something adds to the cluster when pods wait for them. Placement counts on them, after those that exist."`
	Unschedulable time.Duration `json:"unschedulable" doc:"How long a pod may find no node until the job is given to another region. 0: 5m." minimum:"0s" maximum:"24h"`
	Unstartable   time.Duration `json:"unstartable" doc:"How long an image that cannot be pulled, or something else without which a container cannot be made, is waited for until the job fails. 0: 2m." minimum:"0s" maximum:"24h"`
	LeaseDuration time.Duration `json:"leaseDuration" doc:"How long an agent that has died keeps its other replicas from taking over. 0: 15s, or a sixth of timing.trust if that is less." minimum:"0s" maximum:"5m"`
}
