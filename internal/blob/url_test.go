package blob

import (
	"strings"
	"testing"
)

func TestParseURL(t *testing.T) {
	tests := map[string]Location{
		"file:///var/lib/gco":         {Dir: "/var/lib/gco"},
		"file:///var//lib/../gco/":    {Dir: "/var/gco"},
		"s3://gco-state":              {Bucket: "gco-state"},
		"s3://b/logs/":                {Bucket: "b", Prefix: "logs"},
		"s3://b/a/c?region=eu-west-1": {Bucket: "b", Prefix: "a/c", Region: "eu-west-1"},
		"s3://b?endpoint=http%3A%2F%2F127.0.0.1%3A7070&pathStyle=true": {Bucket: "b", Endpoint: "http://127.0.0.1:7070", PathStyle: true},
	}
	for text, want := range tests {
		got, err := ParseURL(text)
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
		if again, err := ParseURL(got.String()); err != nil || again != want {
			t.Errorf("%s, written as %s: %+v, %v", text, got, again, err)
		}
	}
	for _, text := range []string{
		"", "/var/lib", "file://host/dir", "file:relative", "file:///d?x=1", "s3://", "s3:///key", "gs://b",
		"s3://b?regoin=x", "s3://b?pathStyle=maybe", "s3://user@b", "s3://b#x", "s3://b/../c", "s3://b?%zz", "::",
	} {
		if l, err := ParseURL(text); err == nil {
			t.Errorf("%q is taken as %+v", text, l)
		}
	}
}

func FuzzParseURL(f *testing.F) {
	f.Add("file:///var/lib/gco")
	f.Add("s3://b/a/c?region=eu-west-1&endpoint=http%3A%2F%2Fx&pathStyle=true")
	f.Fuzz(func(t *testing.T, text string) {
		l, err := ParseURL(text)
		if err != nil {
			return
		}
		if (l.Dir == "") == (l.Bucket == "") {
			t.Fatalf("%q: neither or both: %+v", text, l)
		}
		again, err := ParseURL(l.String())
		if err != nil && !strings.Contains(l.Bucket, "%") || err == nil && again != l {
			t.Fatalf("%q became %q: %+v, %v", text, l, again, err)
		}
	})
}
