// Package config owns gco.yaml, the one file that the product and the
// infrastructure under infra/ both read.
//
// It decodes strictly, fills in defaults, and reports every fault of a file at
// once, each under its field path. It starts nothing and opens nothing but the
// file it is given. The command line calls [Load] at start; infra calls it at
// synthesis, with the CDK context laid over the file.
//
// A new section is a field of [Config], its defaults in [Default], and, where
// field tags can't say it all, a method validate(path string) []Fault on the
// section's type. Tags carry the rest: doc, enum, minimum, maximum, minLength,
// maxLength, pattern with patternDescription, minItems, maxItems, uniqueItems.
// The decoder, [Config.Validate] and [Schema] all read them. The tag region,
// "required" or "optional", is for [Schema] alone.
package config

import (
	"fmt"
	"os"
	"reflect"
)

// Config is the whole of gco.yaml. Every field has a default, so an empty file
// is a valid one.
type Config struct {
	Project     string    `json:"project" doc:"Name of this installation. It starts every table, parameter, export and stack name, so two projects can share an account." minLength:"1" maxLength:"64" pattern:"^[A-Za-z][A-Za-z0-9-]*$" patternDescription:"letters, digits and hyphens, starting with a letter"`
	Server      Server    `json:"server" doc:"The control plane's process."`
	Store       Store     `json:"store" doc:"Where the control plane keeps everything."`
	Auth        Auth      `json:"auth" doc:"How callers without a token of GCO prove who they are."`
	Timing      Timing    `json:"timing" doc:"The times by which regions hold and lose the right to act, and how long jobs wait."`
	Limits      Limits    `json:"limits" doc:"What one user may take of the queue."`
	Policy      Policy    `json:"policy" doc:"Which jobs are admitted. The defaults keep jobs apart from their nodes and clusters."`
	Placement   Placement `json:"placement" doc:"How regions are chosen."`
	Backups     Backups   `json:"backups" doc:"Copies of the embedded database: where, how often, for how long."`
	Webhooks    Webhooks  `json:"webhooks" doc:"How events are delivered to the addresses that users give."`
	Regions     Regions   `json:"regions" doc:"Regions by name: prices, and the nodes that the local runtime simulates. Where there are none, gco up simulates a few small clusters."`
	Gateway     Gateway   `json:"gateway" doc:"Requests to endpoints: the door of a region, and how long they wait."`
	Accelerator FrontDoor `json:"accelerator" doc:"The front door that gco accelerator runs; not the one in AWS, which is aws.accelerator."`
	AWS         AWS       `json:"aws" doc:"What infra/ builds in an AWS account."`
}

// section is what a top-level type implements when its fields depend on each
// other in ways that tags can't say. path is the section's own key.
type section interface {
	validate(path string) []Fault
}

// Overlay is a partial configuration, in the shape of the file, that is laid
// over it: mappings merge, everything else replaces. Source names where it came
// from, for fault messages.
type Overlay struct {
	Source string
	Value  map[string]any
}

// Default returns the configuration that an empty file stands for, with the
// safe defaults of [ProfileProduction].
func Default() Config {
	return defaultFor(ProfileProduction)
}

func defaultFor(profile Profile) Config {
	return Config{
		Project:     "gco",
		Server:      defaultServer(),
		Store:       Store{Driver: DriverSQLite},
		Limits:      defaultLimits(),
		Policy:      defaultPolicy(),
		Placement:   defaultPlacement(),
		Backups:     defaultBackups(),
		Webhooks:    defaultWebhooks(),
		Gateway:     defaultGateway(),
		Accelerator: defaultFrontDoor(),
		AWS:         defaultAWS(profile),
	}
}

// Load reads the file at path, lays the overlays over it in order, fills in the
// defaults of the profile that results, and validates the whole. An empty path
// stands for an empty file.
//
// What is wrong with the content is returned as one [*Invalid] that lists every
// fault. A file that can't be read gives the operating system's error, wrapped.
func Load(path string, overlays ...Overlay) (Config, error) {
	config, _, err := LoadSources(path, overlays...)
	return config, err
}

// LoadSources is [Load] that also tells where each value came from.
func LoadSources(path string, overlays ...Overlay) (Config, Sources, error) {
	var text []byte
	if path != "" {
		var err error
		if text, err = os.ReadFile(path); err != nil {
			return Config{}, nil, fmt.Errorf("reading configuration: %w", err)
		}
	}
	return parse(path, text, overlays)
}

// Parse is [Load] for text that is already in memory; name stands for the file
// in messages.
func Parse(name string, text []byte, overlays ...Overlay) (Config, error) {
	config, _, err := parse(name, text, overlays)
	return config, err
}

func parse(name string, text []byte, overlays []Overlay) (Config, Sources, error) {
	tree, faults := readTree(text)
	for _, overlay := range overlays {
		faults = append(faults, tree.overlay(overlay)...)
	}
	config := defaultFor(tree.profile())
	faults = append(faults, tree.decodeInto(&config)...)

	// A field that did not decode keeps its default, so validation goes on
	// without repeating what decoding said.
	for _, fault := range config.faults() {
		fault.Where = tree.where(fault.Path)
		faults = append(faults, fault)
	}
	if len(faults) > 0 {
		return Config{}, nil, &Invalid{File: name, Faults: inOrder(faults)}
	}
	return config, tree.sourcesOf(name), nil
}

// Validate checks a configuration that was built or changed in code. It returns
// an [*Invalid] that lists every fault, or nil.
func (c Config) Validate() error {
	if faults := c.faults(); len(faults) > 0 {
		return &Invalid{Faults: inOrder(faults)}
	}
	return nil
}

func (c Config) faults() []Fault {
	value := reflect.ValueOf(c)
	faults := checkTags(value, "")
	for i := range value.NumField() {
		if s, ok := reflect.TypeAssert[section](value.Field(i)); ok {
			faults = append(faults, s.validate(fieldName(value.Type().Field(i)))...)
		}
	}
	return append(faults, c.validateProject()...)
}
