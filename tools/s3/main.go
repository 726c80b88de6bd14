// Command s3 serves one folder as one bucket by the S3 protocol, and answers nobody without the right keys.
package main

import (
	"context"
	"log"
	"net/http"
	"os"
	"path/filepath"

	"github.com/rclone/gofakes3"
	"github.com/rclone/gofakes3/s3mem"
)

func main() {
	if len(os.Args) != 4 {
		log.Fatal("usage: s3 ADDRESS BUCKET FOLDER, keys in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
	}
	address, bucket, folder := os.Args[1], os.Args[2], os.Args[3]
	backend := s3mem.New()
	if err := fill(backend, bucket, folder); err != nil {
		log.Fatal(err)
	}
	keys := map[string]string{os.Getenv("AWS_ACCESS_KEY_ID"): os.Getenv("AWS_SECRET_ACCESS_KEY")}
	server := gofakes3.New(backend, gofakes3.WithV4Auth(keys), gofakes3.WithGlobalLog())
	log.Fatal(http.ListenAndServe(address, server.Server()))
}

// fill puts every file of the folder into the bucket; a file's key is its path.
func fill(backend gofakes3.Backend, bucket string, folder string) error {
	if err := backend.CreateBucket(context.Background(), bucket); err != nil {
		return err
	}
	return filepath.Walk(folder, func(path string, about os.FileInfo, err error) error {
		if err != nil || !about.Mode().IsRegular() {
			return err
		}
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		defer file.Close()
		key, err := filepath.Rel(folder, path)
		if err != nil {
			return err
		}
		_, err = backend.PutObject(context.Background(), bucket, key, map[string]string{}, file, about.Size())
		return err
	})
}
