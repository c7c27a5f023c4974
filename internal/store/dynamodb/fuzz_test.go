package dynamodb

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/job"
)

// FuzzUnpack feeds the reader of packed data anything, and takes what it was
// given through the way there and back.
func FuzzUnpack(f *testing.F) {
	for _, seed := range [][]byte{nil, []byte("p"), []byte("plain"), []byte("dxx"), pack(bytes.Repeat([]byte("long "), 1000)), {0}} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if plain, err := unpack(data); err == nil && len(plain) > maxUnpacked {
			t.Errorf("%d bytes became %d", len(data), len(plain))
		}
		again, err := unpack(pack(data))
		if err != nil || !bytes.Equal(again, data) {
			t.Errorf("%d bytes came back as %d: %v", len(data), len(again), err)
		}
	})
}

// FuzzItems feeds the readers of stored items anything.
func FuzzItems(f *testing.F) {
	f.Add([]byte(`{"id":"j","state":"queued"}`), "0000000000000001-ab", "region/r/1", int64(3))
	f.Add([]byte(`[]`), "", "#", int64(-1))
	f.Add([]byte(`{"heads":{"c":{}},"members":{"waiting c":{"1":2}}}`), "zz", "0000#region/r/12", int64(1))
	f.Fuzz(func(_ *testing.T, body []byte, stamped, sort string, n int64) {
		i := item{
			attrBody: binary(pack(body)), attrStamp: text(stamped), attrSK: text(sort), attrPK: text("job/x"),
			attrSince: number(n), attrLogsOf: number(n), attrTTL: number(n), attrMeta: &types.AttributeValueMemberNULL{Value: true},
		}
		_, _ = recordOf(i)
		_, _ = entryOf(i)
		_, _ = eventOf(i)
		_, _ = regionOf(i)
		_, _ = webhookOf(i)
		_, _ = deliveryOf(i)
		_, _ = pipelineOf(i)
		_, _, _ = cutNumber(sort)
		_ = stamp(stamped).ns()
		if v, err := restoreView(body); err == nil {
			_ = v.lists(listWaiting)
		}
	})
}

// TestAViewSurvivesItsSnapshot takes a view through a snapshot, and goes on
// with both.
func TestAViewSurvivesItsSnapshot(t *testing.T) {
	s := &Store{shards: Shards{Index: 2, List: 3, Guard: 1, Tail: 2}}
	now := time.Date(2030, 1, 2, 3, 4, 5, 6, time.UTC)
	step := func(id job.ID, m move) entry {
		m.Class, m.Submitted = "c", now
		return entry{Subject: "job/" + string(id), Type: "job.x", Namespace: "team", At: now, Job: &m}
	}
	waiting := func(ids ...job.ID) (all []entry) {
		for _, id := range ids {
			all = append(all, step(id, move{To: job.Queued, Entered: []string{listWaiting + "c", listOverdue}}))
		}
		return all
	}
	v := newView()
	v.append(s, 1, waiting("a", "b", "d"))
	kept, err := v.keep()
	if err != nil {
		t.Fatal(err)
	}
	restored, err := restoreView(kept)
	if err != nil {
		t.Fatal(err)
	}
	placed := []entry{step("a", move{From: job.Queued, To: job.Placed, Region: "r", Left: []string{listWaiting + "c"}, Entered: []string{listPlaced + "r"}})}
	for _, one := range []*view{v, restored} {
		one.append(s, 2, placed)
		if h := one.heads["c"]; !h.Unsure || one.waiting("team") != 3 || one.promises[promiseKey{"r", capacity.Class("c")}] != 1 || one.last != cursorOf(2, 0) {
			t.Errorf("the view is %+v", one)
		}
	}
	first, err := v.keep()
	if err != nil {
		t.Fatal(err)
	}
	second, err := restored.keep()
	if err != nil {
		t.Fatal(err)
	}
	var x, y keptView
	if json.Unmarshal(first, &x) != nil || json.Unmarshal(second, &y) != nil || len(x.Counts) != len(y.Counts) || len(x.Members) != len(y.Members) {
		t.Errorf("%s became %s", first, second)
	}
}

// TestATypicalRecordIsOneUnit holds the record of an ordinary job to 1 KB.
func TestATypicalRecordIsOneUnit(t *testing.T) {
	s := &Store{shards: DefaultShards}
	spec := job.Spec{
		Namespace: "research-team", Name: "train-the-large-model", SubmittedBy: "ci-submitter", Retries: 3, Deadline: time.Hour,
		Labels: map[string]string{"team": "research", "experiment": "ablation-17", "owner": "someone"},
		Class:  capacity.ClassOf(capacity.Demand{}, nil),
	}.WithDefaults()
	now := time.Now()
	j, _ := job.New(job.NewID(), spec, now)
	for _, event := range []job.Event{{Kind: job.Place, Region: "us-east-1", Message: "best of 3 regions, with a score of 0.90"}, {Kind: job.Claim}, {Kind: job.Started}, {Kind: job.Finished, Reason: "Completed", Message: "exit code 0", ExitCode: new(0)}} {
		var err error
		if j, _, err = j.Apply(event, now); err != nil {
			t.Fatal(err)
		}
	}
	i, err := s.recordItem(&record{Job: j, stamp: "0123456789abcdef-01234567", key: string(bytes.Repeat([]byte("k"), 64))})
	if err != nil {
		t.Fatal(err)
	}
	size := 0
	for name, v := range i {
		size += len(name) + len(textOf(item{"v": v}, "v")) + len(bytesIn(v)) + 8
	}
	t.Logf("%d bytes", size)
	if size > 1024 {
		t.Errorf("the record has %d bytes", size)
	}
}
