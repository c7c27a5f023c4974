// Package dynamotest starts what stands in for DynamoDB in tests: dynoxide, and
// Amazon's DynamoDB Local. It owns the processes; scripts/emulators.sh installs
// them. Tests of the driver, of the contract and of the whole system call it. A
// machine without them fails the tests.
package dynamotest
