package placement

import (
	"reflect"
	"testing"

	"github.com/gco-project/gco/internal/capacity"
)

func TestLeftIsTheSnapshotLessWhatWasTaken(t *testing.T) {
	node := func(cpu int64) capacity.NodeShape {
		return capacity.NodeShape{
			Count: 1, Free: capacity.Resources{"cpu": cpu, "gpu": 2}, Total: capacity.Resources{"cpu": 4000, "gpu": 2}, Architecture: "arm64",
			Labels: map[string]string{"zone": "a"}, Taints: []capacity.Taint{{Key: "dear", Effect: "NoSchedule"}},
		}
	}
	room := NewRoom(capacity.Snapshot{Nodes: []capacity.NodeShape{node(4000), node(3000), node(4000)}})
	pod := capacity.Pod{Requests: capacity.Resources{"cpu": 1000}, Tolerations: []capacity.Toleration{{Operator: "Exists"}}}
	if !room.Take(capacity.Demand{Pods: []capacity.PodGroup{{Count: 1, Pod: pod}}}) {
		t.Fatal("there is no room")
	}
	few, whole := node(2000), node(4000)
	whole.Count = 2
	want := capacity.Snapshot{Nodes: []capacity.NodeShape{few, whole}}
	if got := room.Left(); !reflect.DeepEqual(got, want) {
		t.Errorf("left is\n%+v, want\n%+v", got, want)
	}
}
