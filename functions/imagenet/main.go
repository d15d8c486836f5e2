// Command imagenet is the function that classifies images: encoded images get their five best ImageNet classes.
package main

import (
	_ "embed"
	"os"

	"weir.dev/weir/functions"
	"weir.dev/weir/functions/model"
)

//go:embed labels.txt
var labels string

func main() {
	top5 := functions.TopK("image_bytes", "probabilities", 5, functions.Labels(labels))
	os.Exit(functions.Main(functions.Options{Name: "imagenet", Hooks: []model.Hook{top5}}))
}
