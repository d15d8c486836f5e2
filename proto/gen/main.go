// Command gen generates the Go code of the .proto files below proto/. It needs no protoc: the files are compiled by a
// library, and those of TensorFlow that they import come out of its Go binding, so there is one copy of each in a
// program.
package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/bufbuild/protocompile"
	_ "github.com/galeone/tensorflow/tensorflow/go/core/protobuf/for_core_protos_go_proto"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

const binding = "github.com/galeone/tensorflow/tensorflow/go/core/"

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

// run works in the folder proto/, where go generate runs it.
func run(ctx context.Context) error {
	if err := os.Chdir(".."); err != nil {
		return err
	}
	files, err := filepath.Glob("proto/*/*.proto")
	if err != nil {
		return err
	}
	compiler := protocompile.Compiler{
		Resolver: protocompile.CompositeResolver{
			protocompile.WithStandardImports(&protocompile.SourceResolver{}),
			protocompile.ResolverFunc(func(path string) (protocompile.SearchResult, error) {
				d, err := protoregistry.GlobalFiles.FindFileByPath(path)
				return protocompile.SearchResult{Desc: d}, err
			}),
		},
		SourceInfoMode: protocompile.SourceInfoStandard,
	}
	compiled, err := compiler.Compile(ctx, files...)
	if err != nil {
		return err
	}
	request := &pluginpb.CodeGeneratorRequest{FileToGenerate: files}
	params := []string{"module=weir.dev/weir"}
	seen := map[string]bool{}
	var add func(d protoreflect.FileDescriptor)
	add = func(d protoreflect.FileDescriptor) {
		if seen[d.Path()] {
			return
		}
		seen[d.Path()] = true
		for i := range d.Imports().Len() {
			add(d.Imports().Get(i).FileDescriptor)
		}
		f := protodesc.ToFileDescriptorProto(d)
		request.ProtoFile = append(request.ProtoFile, f)
		if p := goPackage(f); p != "" {
			params = append(params, "M"+d.Path()+"="+p)
		}
	}
	for _, f := range compiled {
		add(f)
	}
	for _, plugin := range []string{"protoc-gen-go", "protoc-gen-go-grpc"} {
		request.Parameter = proto.String(strings.Join(params, ","))
		if err := generate(ctx, plugin, request); err != nil {
			return err
		}
	}
	return nil
}

// goPackage is where the Go code of one of TensorFlow's files is, which its descriptor does not say.
func goPackage(f *descriptorpb.FileDescriptorProto) string {
	if dir, ok := strings.CutPrefix(f.GetName(), "tensorflow/core/framework/"); ok {
		return binding + "framework/" + strings.TrimSuffix(dir, ".proto") + "_go_proto"
	}
	if strings.HasPrefix(f.GetName(), "tensorflow/core/protobuf/") {
		return binding + "protobuf/for_core_protos_go_proto"
	}
	return ""
}

// generate runs a plugin of protoc and writes what it answers.
func generate(ctx context.Context, plugin string, request *pluginpb.CodeGeneratorRequest) error {
	in, err := proto.Marshal(request)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", "tool", plugin)
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("%s: %w", plugin, err)
	}
	var response pluginpb.CodeGeneratorResponse
	if err := proto.Unmarshal(out, &response); err != nil {
		return fmt.Errorf("%s: %w", plugin, err)
	}
	if response.GetError() != "" {
		return fmt.Errorf("%s: %s", plugin, response.GetError())
	}
	for _, f := range response.GetFile() {
		if err := os.WriteFile(f.GetName(), []byte(f.GetContent()), 0o644); err != nil {
			return err
		}
	}
	return nil
}
