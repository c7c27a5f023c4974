package model_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/gco-project/gco/internal/model"
)

func TestRefs(t *testing.T) {
	for text, want := range map[string]model.Ref{
		"llama":            {Name: "llama"},
		"llama@latest":     {Name: "llama"},
		"llama-3.1_8b@12":  {Name: "llama-3.1_8b", Version: 12},
		"llama@prod":       {Name: "llama", Tag: "prod"},
		"7b@release-2.1_x": {Name: "7b", Tag: "release-2.1_x"},
	} {
		got, err := model.ParseRef(text)
		if err != nil || got != want {
			t.Errorf("ParseRef(%q) = %+v, %v; want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{
		"", "@1", "Llama", "a b", "a/b", "../a", "a@", "a@0", "a@-1", "a@+1", "a@01", "a@1.5", "a@Prod", "a@b@c", "a-", ".a",
		"a@99999999999999999999", strings.Repeat("a", 101), "a@" + strings.Repeat("b", 64),
	} {
		if got, err := model.ParseRef(text); err == nil {
			t.Errorf("ParseRef(%q) = %+v", text, got)
		}
	}
}

func FuzzParseRef(f *testing.F) {
	for _, seed := range []string{"a", "a@1", "a@prod", "a@latest", "@", "a@9007199254740992", "\x00@\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		ref, err := model.ParseRef(text)
		if err != nil {
			return
		}
		if again, err := model.ParseRef(ref.String()); err != nil || again != ref {
			t.Errorf("%q is %+v, and %q is %+v, %v", text, ref, ref.String(), again, err)
		}
		if !model.ValidName(ref.Name) || ref.Version != 0 && ref.Tag != "" {
			t.Errorf("%q is %+v", text, ref)
		}
	})
}

var (
	sumA = strings.Repeat("a", 64)
	sumB = strings.Repeat("b", 64)
)

func file(path string, chunks ...model.Chunk) model.File {
	f := model.File{Path: path, SHA256: sumB, Chunks: chunks}
	for _, c := range chunks {
		f.Size += c.Size
	}
	return f
}

func TestManifestSaysEveryFault(t *testing.T) {
	chunk := model.Chunk{SHA256: sumA, Size: 5}
	good := model.Manifest{Files: []model.File{file("a/b.bin", chunk, chunk), file("empty")}}
	if faults := good.Validate(); len(faults) > 0 {
		t.Fatal(faults)
	}
	if good.Bytes() != 10 {
		t.Errorf("%d bytes", good.Bytes())
	}
	var distinct []model.Chunk
	for c := range good.Distinct() {
		distinct = append(distinct, c)
	}
	if len(distinct) != 1 || distinct[0] != chunk {
		t.Errorf("distinct chunks are %v", distinct)
	}
	for name, test := range map[string]struct {
		files []model.File
		want  []string
	}{
		"nothing":        {nil, []string{"files"}},
		"order":          {[]model.File{file("b"), file("a")}, []string{"files[1].path"}},
		"twice":          {[]model.File{file("a"), file("a")}, []string{"files[1].path"}},
		"file and dir":   {[]model.File{file("a"), file("a/b/c")}, []string{"files[1].path"}},
		"size":           {[]model.File{{Path: "a", Size: 3, SHA256: sumB, Chunks: []model.Chunk{chunk}}}, []string{"files[0].size"}},
		"negative":       {[]model.File{file("a", model.Chunk{SHA256: sumA, Size: -1})}, []string{"files[0].chunks[0].size", "files[0].size"}},
		"large":          {[]model.File{file("a", model.Chunk{SHA256: sumA, Size: model.MaxChunk + 1})}, []string{"files[0].chunks[0].size", "files[0].size"}},
		"two sizes":      {[]model.File{file("a", chunk, model.Chunk{SHA256: sumA, Size: 6})}, []string{"files[0].chunks[1].size"}},
		"sums":           {[]model.File{{Path: "a", SHA256: "x"}, file("b", model.Chunk{SHA256: strings.ToUpper(sumA), Size: 1})}, []string{"files[0].sha256", "files[1].chunks[0].sha256"}},
		"paths":          {[]model.File{file("")}, []string{"files[0].path"}},
		"parent":         {[]model.File{file("../a")}, []string{"files[0].path"}},
		"inner parent":   {[]model.File{file("a/../../b")}, []string{"files[0].path"}},
		"absolute":       {[]model.File{file("/etc/passwd")}, []string{"files[0].path"}},
		"backslash":      {[]model.File{file(`a\b`)}, []string{"files[0].path"}},
		"control":        {[]model.File{file("a\x00b")}, []string{"files[0].path"}},
		"long part":      {[]model.File{file(strings.Repeat("x", 256))}, []string{"files[0].path"}},
		"trailing slash": {[]model.File{file("a/")}, []string{"files[0].path"}},
	} {
		var fields []string
		for _, fault := range (model.Manifest{Files: test.files}).Validate() {
			fields = append(fields, fault.Field)
		}
		if strings.Join(fields, " ") != strings.Join(test.want, " ") {
			t.Errorf("%s: faults at %v; want %v", name, fields, test.want)
		}
	}
}

func TestTooManyFaultsAreCut(t *testing.T) {
	files := make([]model.File, 10_000)
	if faults := (model.Manifest{Files: files}).Validate(); len(faults) < 100 || len(faults) > 110 {
		t.Errorf("%d faults", len(faults))
	}
}

func FuzzDecode(f *testing.F) {
	good, err := model.Manifest{Files: []model.File{file("a", model.Chunk{SHA256: sumA, Size: 5}), file("b")}}.Encode()
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{string(good), "", "{}", `{"files":null}`, `{"files":[{"path":"../x"}]}`, string(good) + "x", `{"files":[],"more":1}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := model.Decode(text)
		if err != nil {
			if faulty, ok := errors.AsType[*model.Invalid](err); ok && len(faulty.Faults) == 0 {
				t.Error("invalid without a fault")
			}
			return
		}
		once, err := m.Encode()
		if err != nil {
			t.Fatal(err)
		}
		again, err := model.Decode(once)
		if err != nil {
			t.Fatalf("%s does not come back: %v", once, err)
		}
		twice, err := again.Encode()
		if err != nil || model.Digest(once) != model.Digest(twice) {
			t.Errorf("two forms of one manifest: %s and %s, %v", once, twice, err)
		}
	})
}
