package dynamodb

import (
	"context"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// A document is up to 1 MiB, and an item at most 400 KB: it is kept in parts,
// beside the record that it belongs to, which says how many there are.
const (
	skRecord = "record"
	skPart   = "part"

	attrPartsOf = "parts"
)

func partKey(pk string, n int) item { return at(pk, key(skPart, fmt.Sprintf("%02d", n))) }

// documentActions write a document, and remove parts that one before had more.
func (s *Store) documentActions(pk string, document []byte, before int64) (actions []types.TransactWriteItem, parts int64) {
	all := slices.Collect(slices.Chunk(pack(document), partSize))
	for n, part := range all {
		actions = append(actions, s.putAction(TableState, with(partKey(pk, n), item{attrBody: binary(part)}), "", nil))
	}
	return append(actions, s.dropDocument(pk, int64(len(all)), before)...), int64(len(all))
}

func (s *Store) dropDocument(pk string, from, parts int64) []types.TransactWriteItem {
	var actions []types.TransactWriteItem
	for n := from; n < parts; n++ {
		actions = append(actions, s.deleteAction(TableState, partKey(pk, int(n)), "", nil))
	}
	return actions
}

// document reads what documentActions wrote.
func (s *Store) document(ctx context.Context, pk string) ([]byte, error) {
	found, err := s.get(ctx, TableState, at(pk, skRecord))
	if err != nil {
		return nil, err
	}
	var packed []byte
	for n := range numberOf(found, attrPartsOf) {
		part, err := s.get(ctx, TableState, partKey(pk, int(n)))
		if err != nil {
			return nil, err
		}
		packed = append(packed, bytesOf(part, attrBody)...)
	}
	return unpack(packed)
}
