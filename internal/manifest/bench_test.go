package manifest_test

import (
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/gco-project/gco/internal/manifest"
)

// typicalJob is about 1 KB, as a job of a training run looks.
const typicalJob = `{"apiVersion":"batch/v1","kind":"Job","metadata":{"name":"train-resnet","namespace":"gco-jobs",` +
	`"labels":{"team":"vision","app":"resnet"},"annotations":{"gco.dev/retries":"2","gco.dev/regions":"us-east-1,eu-west-1"}},` +
	`"spec":{"parallelism":2,"completions":4,"backoffLimit":1,"ttlSecondsAfterFinished":3600,"template":{"metadata":{"labels":{"app":"resnet"}},` +
	`"spec":{"restartPolicy":"Never","nodeSelector":{"kubernetes.io/arch":"amd64"},` +
	`"tolerations":[{"key":"nvidia.com/gpu","operator":"Exists","effect":"NoSchedule"}],` +
	`"containers":[{"name":"train","image":"busybox:1.36","command":["/bin/sh","-c","echo training; sleep 5; echo done"],` +
	`"env":[{"name":"EPOCHS","value":"10"},{"name":"DATA","value":"s3://bucket/data"}],` +
	`"resources":{"requests":{"cpu":"500m","memory":"1Gi"},"limits":{"cpu":"2","memory":"2Gi","nvidia.com/gpu":"1"}},` +
	`"volumeMounts":[{"name":"scratch","mountPath":"/scratch"}]}],"volumes":[{"name":"scratch","emptyDir":{"sizeLimit":"1Gi"}}]}}}}`

// smallJob is about as little as a job can say.
const smallJob = `{"apiVersion":"batch/v1","kind":"Job","metadata":{"name":"hello"},"spec":{"template":{"spec":{"restartPolicy":"Never",` +
	`"containers":[{"name":"hello","image":"busybox:1.36","command":["/bin/sh","-c","echo hello"]}]}}}}`

func BenchmarkCompile(b *testing.B) {
	typicalYAML, err := yaml.JSONToYAML([]byte(typicalJob))
	if err != nil {
		b.Fatal(err)
	}
	policy := manifest.DefaultPolicy()
	for _, input := range []struct {
		name string
		text []byte
	}{{"json", []byte(typicalJob)}, {"json-small", []byte(smallJob)}, {"yaml", typicalYAML}} {
		b.Run(input.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(input.text)))
			for b.Loop() {
				if _, faults := manifest.Compile(input.text, "gco-jobs", policy); len(faults) > 0 {
					b.Fatal(faults)
				}
			}
		})
	}
}
