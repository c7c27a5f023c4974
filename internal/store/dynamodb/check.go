package dynamodb

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// errNoAnswer marks an error that every table would have.
var errNoAnswer = errors.New("DynamoDB does not answer; check the credentials, the region, and the endpoint if there is one")

// checkTables compares every table with what the driver needs. Every fault is
// in the one error.
func (s *Store) checkTables(ctx context.Context, create bool) error {
	faults := make([]error, len(Tables))
	_ = each(ctx, len(Tables), func(ctx context.Context, i int) error {
		faults[i] = s.checkTable(ctx, Tables[i], create)
		return nil
	})
	for _, fault := range faults {
		if errors.Is(fault, errNoAnswer) {
			return fault
		}
	}
	return errors.Join(faults...)
}

func (s *Store) checkTable(ctx context.Context, t Table, create bool) error {
	name := *s.name(t.Name)
	found, err := s.describe(ctx, name)
	if create && code(err) == "ResourceNotFoundException" {
		if err := s.create(ctx, t); err != nil {
			return fmt.Errorf("making table %s: %w", name, err)
		}
		return nil
	}
	switch code(err) {
	case "":
	case "ResourceNotFoundException":
		return fmt.Errorf("there is no table %s in this account and region; deploy infra/, or check project and region", name)
	case "AccessDeniedException":
		return fmt.Errorf("these credentials may not read table %s; give the server the policy that infra/ makes: %w", name, err)
	}
	if err != nil {
		return fmt.Errorf("%w: reading table %s: %w", errNoAnswer, name, err)
	}
	if faults := t.differences(found); len(faults) > 0 {
		return fmt.Errorf("table %s is not what this version needs: %s; deploy infra/ of the same version", name, strings.Join(faults, ", "))
	}
	return nil
}

func (s *Store) describe(ctx context.Context, name string) (*types.TableDescription, error) {
	out, err := s.client.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: &name})
	if err != nil {
		return nil, err
	}
	return out.Table, nil
}

// differences says where a table is not as it is described.
func (t Table) differences(found *types.TableDescription) []string {
	var faults []string
	if got, want := keysOf(found.KeySchema), keyText(t.PartitionKey, t.SortKey); got != want {
		faults = append(faults, fmt.Sprintf("its key is %s instead of %s", got, want))
	}
	for _, index := range t.Indexes {
		i := slices.IndexFunc(found.GlobalSecondaryIndexes, func(d types.GlobalSecondaryIndexDescription) bool {
			return aws.ToString(d.IndexName) == index.Name
		})
		if i < 0 {
			faults = append(faults, "it has no index "+index.Name)
			continue
		}
		if got, want := keysOf(found.GlobalSecondaryIndexes[i].KeySchema), keyText(index.PartitionKey, index.SortKey); got != want {
			faults = append(faults, fmt.Sprintf("the key of index %s is %s instead of %s", index.Name, got, want))
		}
		if p := found.GlobalSecondaryIndexes[i].Projection; p != nil && p.ProjectionType != types.ProjectionTypeAll {
			faults = append(faults, fmt.Sprintf("index %s projects %s instead of %s", index.Name, p.ProjectionType, types.ProjectionTypeAll))
		}
	}
	for _, a := range found.AttributeDefinitions {
		if slices.Contains(t.keys(), aws.ToString(a.AttributeName)) && a.AttributeType != types.ScalarAttributeTypeS {
			faults = append(faults, fmt.Sprintf("%s is of type %s instead of %s", aws.ToString(a.AttributeName), a.AttributeType, types.ScalarAttributeTypeS))
		}
	}
	if status := found.TableStatus; status != types.TableStatusActive && status != types.TableStatusUpdating {
		faults = append(faults, "it is "+string(status))
	}
	return faults
}

// keys are the attributes that the table and its indexes are keyed by.
func (t Table) keys() []string {
	all := []string{t.PartitionKey, t.SortKey}
	for _, index := range t.Indexes {
		all = append(all, index.PartitionKey, index.SortKey)
	}
	return all
}

func keyText(partition, sort string) string {
	if sort == "" {
		return "(" + partition + ")"
	}
	return "(" + partition + ", " + sort + ")"
}

func keysOf(schema []types.KeySchemaElement) string {
	var partition, sort string
	for _, element := range schema {
		if element.KeyType == types.KeyTypeHash {
			partition = aws.ToString(element.AttributeName)
		} else {
			sort = aws.ToString(element.AttributeName)
		}
	}
	return keyText(partition, sort)
}

func keySchema(partition, sort string) []types.KeySchemaElement {
	schema := []types.KeySchemaElement{{AttributeName: &partition, KeyType: types.KeyTypeHash}}
	if sort != "" {
		schema = append(schema, types.KeySchemaElement{AttributeName: &sort, KeyType: types.KeyTypeRange})
	}
	return schema
}

// lookAgain is how often a new table is looked at.
const lookAgain = 100 * time.Millisecond

// create makes a table and waits until it can be used.
func (s *Store) create(ctx context.Context, t Table) error {
	name := s.name(t.Name)
	_, err := s.client.CreateTable(ctx, t.definition(*name))
	others := code(err) == "ResourceInUseException"
	if err != nil && !others {
		return err
	}
	waiter := dynamodb.NewTableExistsWaiter(s.client, func(o *dynamodb.TableExistsWaiterOptions) {
		o.MinDelay, o.MaxDelay = lookAgain, time.Second
	})
	if err := waiter.Wait(ctx, &dynamodb.DescribeTableInput{TableName: name}, callTimeout); err != nil {
		return err
	}
	if t.TTL == "" || others {
		return nil
	}
	_, err = s.client.UpdateTimeToLive(ctx, &dynamodb.UpdateTimeToLiveInput{
		TableName:               name,
		TimeToLiveSpecification: &types.TimeToLiveSpecification{AttributeName: &t.TTL, Enabled: aws.Bool(true)},
	})
	return err
}

// definition is the request that makes the table.
func (t Table) definition(name string) *dynamodb.CreateTableInput {
	in := &dynamodb.CreateTableInput{
		TableName: &name, BillingMode: types.BillingModePayPerRequest, KeySchema: keySchema(t.PartitionKey, t.SortKey),
	}
	attributes := []string{t.PartitionKey, t.SortKey}
	for _, index := range t.Indexes {
		attributes = append(attributes, index.PartitionKey, index.SortKey)
		in.GlobalSecondaryIndexes = append(in.GlobalSecondaryIndexes, types.GlobalSecondaryIndex{
			IndexName: &index.Name, KeySchema: keySchema(index.PartitionKey, index.SortKey),
			Projection: &types.Projection{ProjectionType: types.ProjectionTypeAll},
		})
	}
	slices.Sort(attributes)
	for _, attribute := range slices.Compact(attributes) {
		if attribute != "" {
			in.AttributeDefinitions = append(in.AttributeDefinitions, types.AttributeDefinition{
				AttributeName: &attribute, AttributeType: types.ScalarAttributeTypeS,
			})
		}
	}
	return in
}
