package dynamodb

import (
	"bytes"
	"compress/flate"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// item is one item, or a part of one.
type item = map[string]types.AttributeValue

func text(s string) types.AttributeValue   { return &types.AttributeValueMemberS{Value: s} }
func binary(b []byte) types.AttributeValue { return &types.AttributeValueMemberB{Value: b} }
func number(n int64) types.AttributeValue {
	return &types.AttributeValueMemberN{Value: strconv.FormatInt(n, 10)}
}
func at(pk, sk string) item { return item{attrPK: text(pk), attrSK: text(sk)} }
func atJob(id string) item  { return item{attrJobID: text(id)} }

// maxKey is how many bytes the values of a key may have: of a sort key, and of
// both together to be on the safe side.
const maxKey = 1024

// isKey tells whether DynamoDB takes a key. Under one that it does not take,
// because somebody sent a name of any kind, there is nothing.
func isKey(k item) bool {
	for name := range k {
		if n := len(textOf(k, name)); n == 0 || n > maxKey {
			return false
		}
	}
	return true
}

func textOf(i item, name string) string {
	s, _ := i[name].(*types.AttributeValueMemberS)
	return value(s)
}
func bytesOf(i item, name string) []byte { return bytesIn(i[name]) }
func has(i item, name string) bool       { _, ok := i[name]; return ok }
func value(s *types.AttributeValueMemberS) string {
	if s == nil {
		return ""
	}
	return s.Value
}

func bytesIn(v types.AttributeValue) []byte {
	if b, ok := v.(*types.AttributeValueMemberB); ok {
		return b.Value
	}
	return nil
}

// numberOf is a number; 0 where there is none.
func numberOf(i item, name string) int64 {
	n, ok := i[name].(*types.AttributeValueMemberN)
	if !ok {
		return 0
	}
	out, err := strconv.ParseInt(n.Value, 10, 64)
	if err != nil {
		return 0
	}
	return out
}

// How packed data begin.
const (
	packedPlain   = 'p'
	packedDeflate = 'd'
)

// worthPacking is from how many bytes on compression pays: a write unit is
// 1 KB.
const worthPacking = 512

// maxUnpacked bounds what packed data may grow to: more was never packed.
const maxUnpacked = 64 << 20

var errPacked = errors.New("these are no packed data")

// pack makes data as small as it is worth.
func pack(data []byte) []byte {
	if len(data) >= worthPacking {
		var out bytes.Buffer
		out.WriteByte(packedDeflate)
		w, err := flate.NewWriter(&out, flate.DefaultCompression)
		if err == nil {
			_, err = w.Write(data)
		}
		if err == nil && w.Close() == nil && out.Len() < len(data) {
			return out.Bytes()
		}
	}
	return append([]byte{packedPlain}, data...)
}

// unpack undoes pack.
func unpack(packed []byte) ([]byte, error) {
	if len(packed) == 0 {
		return nil, errPacked
	}
	switch packed[0] {
	case packedPlain:
		return packed[1:], nil
	case packedDeflate:
		r := flate.NewReader(bytes.NewReader(packed[1:]))
		data, err := io.ReadAll(io.LimitReader(r, maxUnpacked+1))
		if err == nil && len(data) > maxUnpacked {
			err = errPacked
		}
		return data, err
	}
	return nil, errPacked
}

// packJSON is packed JSON as an attribute.
func packJSON(v any) (types.AttributeValue, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return binary(pack(text)), nil
}

// unpackJSON reads an attribute that packJSON made.
func unpackJSON(i item, name string, into any) error {
	text, err := unpack(bytesOf(i, name))
	if err == nil {
		err = json.Unmarshal(text, into)
	}
	if err != nil {
		return fmt.Errorf("reading attribute %s: %w", name, err)
	}
	return nil
}
