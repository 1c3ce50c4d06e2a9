// SPDX-License-Identifier: Apache-2.0
//
// Import, unpack and export, with archives made by skopeo and umoci where these are installed.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "base/io.h"
#include "base/text.h"
#include "formats/compression/compression.h"
#include "formats/json.h"
#include "formats/tar.h"
#include "images/export.h"
#include "images/import.h"
#include "images/memory_image_records.h"
#include "images/unpack.h"
#include "snapshots/native_snapshotter.h"
#include "snapshots/overlayfs_snapshotter.h"

namespace gantry::images {
namespace {

namespace fs = std::filesystem;
using formats::Digest;

struct NamedFile {
  std::string name;
  std::string data;
};

std::string Tar(const std::vector<NamedFile>& files) {
  StringSink sink;
  formats::TarWriter writer(sink);
  for (const NamedFile& file : files) {
    EXPECT_TRUE(writer.WriteFile({.name = file.name}, file.data).ok());
  }
  EXPECT_TRUE(writer.Finish().ok());
  return sink.text;
}

std::string Gzip(const std::string& text) {
  StringSink sink;
  formats::compression::GzipSink gzip(sink);
  EXPECT_TRUE(gzip.Write(text).ok());
  EXPECT_TRUE(gzip.Finish().ok());
  return sink.text;
}

bool Installed(const std::string& program) {
  return ::system(("command -v " + program + " >/dev/null 2>&1").c_str()) == 0;
}

const ImportOptions kAnyName = {
    .rules = {{.name = "imported", .is_prefix = true, .allow_overwrite = true}}};

class ArchiveTest : public testing::Test {
 protected:
  void SetUp() override {
    char path[] = "/tmp/gantry-archive-XXXXXX";
    top_ = ::mkdtemp(path);
    blobs_ = std::move(*content::BlobStore::Open(top_ + "/content"));
    library_ = {.blobs = blobs_.get(), .records = &records_, .ns = "ns"};
  }
  void TearDown() override { fs::remove_all(top_); }

  Result<std::vector<ImageRecord>> ImportBytes(const std::string& bytes,
                                               const ImportOptions& options = kAnyName) {
    StringSource source(bytes, 5000);
    return Import(library_, source, options);
  }
  Result<std::vector<ImageRecord>> ImportFile(const std::string& path,
                                              const ImportOptions& options = kAnyName) {
    FdSource source(TRY(OpenFile(path, O_RDONLY)));
    return Import(library_, source, options);
  }
  // Two layers, the second with a whiteout; the whole as `docker save` of 20.10 writes it.
  std::vector<NamedFile> DockerFiles() {
    std::string base = Tar({{"a", "lower"}, {"d/gone", "x"}});
    std::string top = Tar({{"b", "upper"}, {"d/.wh.gone", ""}});
    std::string config =
        fmt::format(R"({{"architecture":"amd64","os":"linux","config":{{"Cmd":["sh"]}},)"
                    R"("rootfs":{{"type":"layers","diff_ids":["{}","{}"]}}}})",
                    Digest::Of(base).text(), Digest::Of(top).text());
    config_digest_ = Digest::Of(config);
    std::string config_name = std::string(config_digest_.hex()) + ".json";
    return {{"1/layer.tar", base},
            {"1/VERSION", "1.0"},
            {"1/json", "{}"},
            {"2/layer.tar", top},
            {config_name, config},
            {"manifest.json",
             fmt::format(R"([{{"Config":"{}","RepoTags":["app:1","example.com/app:2"],)"
                         R"("Layers":["1/layer.tar","2/layer.tar"]}}])",
                         config_name)},
            {"repositories", "{}"}};
  }
  void Run(const std::string& command) {
    ASSERT_EQ(::system((command + " >" + top_ + "/log 2>&1").c_str()), 0)
        << command << "\n"
        << *ReadFile(top_ + "/log");
  }

  std::string top_;
  Digest config_digest_;
  std::unique_ptr<content::BlobStore> blobs_;
  Library library_;
  MemoryImageRecords records_{&library_.blobs};
};

TEST_F(ArchiveTest, ImportsDockersArchive) {
  auto images = ImportBytes(Tar(DockerFiles()));
  ASSERT_TRUE(images.ok()) << images.error().message();
  ASSERT_EQ(images->size(), 2u);
  EXPECT_EQ((*images)[0].name, "docker.io/library/app:1");
  EXPECT_EQ((*images)[1].name, "example.com/app:2");
  auto resolved = ResolveManifest(*blobs_, (*images)[0].target, oci::HostPlatform());
  ASSERT_TRUE(resolved.ok()) << resolved.error().message();
  EXPECT_EQ(resolved->manifest.config.digest, config_digest_);
  EXPECT_EQ(resolved->manifest.layers.size(), 2u);
  EXPECT_EQ(resolved->manifest.layers[0].media_type, oci::kDockerLayer);
  auto record = records_.FindBlob((*images)[0].target.digest);
  EXPECT_EQ((*record)->labels["containerd.io/gc.ref.content.config"], config_digest_.text());
  EXPECT_EQ((*record)->labels.size(), 3u);
  // Again, compressed as a whole.
  EXPECT_TRUE(ImportBytes(Gzip(Tar(DockerFiles()))).ok());
}

TEST_F(ArchiveTest, RefusesArchivesThatLie) {
  auto expect = [&](std::vector<NamedFile> files, const char* message) {
    auto images = ImportBytes(Tar(files));
    ASSERT_FALSE(images.ok()) << message;
    EXPECT_THAT(images.error().message(), testing::HasSubstr(message));
    EXPECT_TRUE(records_.images().empty());
  };
  auto files = DockerFiles();
  files[0].data += std::string(512, 'x');
  expect(files, "the configuration says");
  files = DockerFiles();
  files.erase(files.begin());
  expect(files, "'1/layer.tar' is missing");
  files = DockerFiles();
  files[4].data += " ";
  expect(files, "has digest");
  files = DockerFiles();
  files[5].data = "{}";
  expect(files, "expected an array");
  files = DockerFiles();
  files[5].data = R"([{"Config":"x","RepoTags":["UPPER"],"Layers":[]}])";
  expect(files, "is missing in the archive");
  expect({{"x", "y"}}, "neither index.json nor manifest.json");
  expect({}, "neither");
  expect({{"blobs/sha256/" + std::string(64, '0'), "x"}}, "unexpected commit digest");
  expect({{"blobs/../../x", "x"}}, "neither");
  expect({{"oci-layout", R"({"imageLayoutVersion":"9"})"}}, "not supported");
  EXPECT_FALSE(ImportBytes("garbage").ok());
  // Cut behind the archive's end: only the checksum tells.
  std::string cut = Gzip(Tar(DockerFiles()));
  EXPECT_FALSE(ImportBytes(cut.substr(0, cut.size() - 4)).ok());
  EXPECT_TRUE(records_.images().empty());
}

class UnpackTest : public ArchiveTest {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root for owners and whiteouts";
    ArchiveTest::SetUp();
    snapshot_records_ = snapshots::MakeMemoryRecords();
    trash_ = std::move(*snapshots::Trash::Open(top_ + "/trash"));
    overlay_ = std::move(*snapshots::MakeOverlayfsSnapshotter(
        top_ + "/overlay", snapshot_records_.get(), trash_.get()));
    native_records_ = snapshots::MakeMemoryRecords();
    native_ = std::move(
        *snapshots::MakeNativeSnapshotter(top_ + "/native", native_records_.get(), trash_.get()));
  }
  void TearDown() override {
    trash_.reset();
    if (!top_.empty()) ArchiveTest::TearDown();
  }
  std::unique_ptr<snapshots::SnapshotRecords> snapshot_records_;
  std::unique_ptr<snapshots::SnapshotRecords> native_records_;
  std::unique_ptr<snapshots::Trash> trash_;
  std::unique_ptr<snapshots::Snapshotter> overlay_;
  std::unique_ptr<snapshots::Snapshotter> native_;
};

TEST_F(UnpackTest, MakesTheChainOnce) {
  auto images = ImportBytes(Tar(DockerFiles()));
  ASSERT_TRUE(images.ok());
  for (int round = 0; round < 2; ++round) {
    auto unpacked = Unpack(library_, *overlay_, (*images)[0].target, oci::HostPlatform());
    ASSERT_TRUE(unpacked.ok()) << unpacked.error().message();
    EXPECT_EQ(unpacked->config.digest, config_digest_);
    auto record = overlay_->Stat("ns", unpacked->chain_id);
    ASSERT_TRUE(record.ok());
    EXPECT_EQ(record->kind, snapshots::Kind::kCommitted);
    EXPECT_EQ(overlay_->records().List("")->size(), 2u) << "no leftovers";
    auto config = records_.FindBlob(config_digest_);
    EXPECT_EQ((*config)->labels["containerd.io/gc.ref.snapshot.overlayfs"], unpacked->chain_id);
  }
  auto unpacked = Unpack(library_, *native_, (*images)[0].target, oci::HostPlatform());
  ASSERT_TRUE(unpacked.ok());
  auto mounts = native_->View("ns", "view", unpacked->chain_id, {});
  ASSERT_TRUE(mounts.ok());
  EXPECT_EQ(*ReadFile((*mounts)[0].source + "/a"), "lower");
  EXPECT_EQ(*ReadFile((*mounts)[0].source + "/b"), "upper");
  EXPECT_FALSE(fs::exists((*mounts)[0].source + "/d/gone"));
}

// Extracted while it comes, and the same in the end; what the image does not need is gone.
TEST_F(UnpackTest, LayersOfAnArchiveAreExtractedAsTheyCome) {
  auto files = DockerFiles();
  std::string other = Tar({{"of no image", std::string(100'000, 'x')}});
  files.insert(files.begin(), {"3/layer.tar", other});
  files.insert(files.begin(), {"4/layer.tar", "no archive at all, but no document either"});
  files.insert(files.begin(), {"5/layer.tar", Gzip(other)});
  {
    EarlyLayers early(library_, {overlay_.get(), native_.get()});
    ImportOptions options = kAnyName;
    options.early = &early;
    auto images = ImportBytes(Tar(files), options);
    ASSERT_TRUE(images.ok()) << images.error().message();
    LayerSupply supply(blobs_.get());
    EXPECT_NE(early.Take(*overlay_, Digest::Of(other)), nullptr);
    EXPECT_NE(early.Take(*overlay_, Digest::Of(files[0].data)), nullptr) << "compressed";
    EXPECT_EQ(early.Take(*overlay_, Digest::Of(files[1].data)), nullptr) << "no archive";
    EXPECT_EQ(early.Take(*native_, Digest::Of(other)), nullptr) << "it cannot rebase";
    auto unpacked =
        Unpack(library_, *overlay_, (*images)[0].target, oci::HostPlatform(), {&supply, &early});
    ASSERT_TRUE(unpacked.ok()) << unpacked.error().message();
    auto mounts = overlay_->View("ns", "view", unpacked->chain_id, {});
    ASSERT_TRUE(mounts.ok());
    std::vector<std::string> directories;
    for (const std::string& option : (*mounts)[0].options) {
      if (option.starts_with("lowerdir=")) directories = Split(option.substr(9), ':');
    }
    ASSERT_EQ(directories.size(), 2u);
    EXPECT_EQ(*ReadFile(directories[0] + "/b"), "upper");
    EXPECT_EQ(*ReadFile(directories[1] + "/a"), "lower");
    struct stat hidden = {};
    ASSERT_EQ(::lstat((directories[0] + "/d/gone").c_str(), &hidden), 0);
    EXPECT_TRUE(S_ISCHR(hidden.st_mode)) << "a whiteout of overlay's";
  }
  ASSERT_TRUE(overlay_->Remove("ns", "view").ok());
  EXPECT_EQ(overlay_->records().List("")->size(), 2u) << "no leftovers";
}

TEST_F(UnpackTest, AnArchiveThatBreaksOffLeavesNoSnapshot) {
  std::string whole = Tar(DockerFiles());
  {
    EarlyLayers early(library_, {overlay_.get()});
    ImportOptions options = kAnyName;
    options.early = &early;
    EXPECT_FALSE(ImportBytes(whole.substr(0, whole.size() / 2), options).ok());
  }
  EXPECT_TRUE(overlay_->records().List("")->empty());
}

TEST_F(UnpackTest, RefusesAnotherOperatingSystem) {
  auto images = ImportBytes(Tar(DockerFiles()));
  ASSERT_TRUE(images.ok());
  auto unpacked = Unpack(library_, *overlay_, (*images)[0].target,
                         {.os = "plan9", .architecture = oci::HostPlatform().architecture});
  ASSERT_FALSE(unpacked.ok());
  EXPECT_THAT(unpacked.error().message(), testing::HasSubstr("operating system 'linux'"));
}

TEST_F(UnpackTest, WrongDiffIdsLeaveNothing) {
  auto files = DockerFiles();
  files[0].data = Gzip(files[0].data + std::string(1024, '\0'));
  auto images = ImportBytes(Tar(files));
  ASSERT_TRUE(images.ok()) << images.error().message();
  auto unpacked = Unpack(library_, *overlay_, (*images)[0].target, oci::HostPlatform());
  ASSERT_FALSE(unpacked.ok());
  EXPECT_THAT(unpacked.error().message(), testing::HasSubstr("uncompressed digest"));
  EXPECT_TRUE(overlay_->records().List("")->empty());
  trash_->WaitUntilEmpty();
  EXPECT_TRUE(fs::is_empty(top_ + "/overlay"));
}

TEST_F(ArchiveTest, ExportsWhatItImports) {
  ASSERT_TRUE(ImportBytes(Tar(DockerFiles())).ok());
  std::vector<ImageRecord> images;
  for (const auto& [name, image] : records_.images()) images.push_back(image);
  StringSink archive;
  auto exported = Export(library_, images, {}, archive);
  ASSERT_TRUE(exported.ok()) << exported.error().message();
  auto again = ImportBytes(archive.text);
  ASSERT_TRUE(again.ok()) << again.error().message();
  ASSERT_EQ(again->size(), 2u);
  EXPECT_EQ((*again)[0].target.digest, images[0].target.digest);
  EXPECT_EQ((*again)[0].name, images[0].name);
  EXPECT_FALSE(Export(library_, {}, {}, archive).ok());
}

TEST_F(ArchiveTest, SpeaksSkopeo) {
  if (!Installed("skopeo") || !Installed("umoci")) GTEST_SKIP() << "no skopeo or umoci";
  ASSERT_TRUE(CreateFile(top_ + "/docker.tar", Tar(DockerFiles()), 0600).ok());
  std::string docker = "docker-archive:" + top_ + "/docker.tar:app:1";
  for (const char* format : {"oci", "v2s2"}) {
    for (const char* compression : {"gzip", "zstd"}) {
      if (std::string_view(format) == "v2s2" && std::string_view(compression) == "zstd") continue;
      std::string target = fmt::format("{}/{}-{}.tar", top_, format, compression);
      bool oci = std::string_view(format) == "oci";
      Run(
          fmt::format("skopeo --insecure-policy copy -f {} --dest-compress-format {} "
                      "--dest-compress {} {}:{}:{}",
                      format, compression, docker, oci ? "oci-archive" : "docker-archive", target,
                      "example.com/a/b:v1"));
      auto images = ImportFile(target);
      ASSERT_TRUE(images.ok()) << target << images.error().message();
      ASSERT_EQ(images->size(), 1u);
      EXPECT_EQ((*images)[0].name, "example.com/a/b:v1");
      StringSink archive;
      ASSERT_TRUE(Export(library_, *images, {}, archive).ok());
      ASSERT_TRUE(CreateFile(top_ + "/export.tar", archive.text, 0600).ok());
      // skopeo finds only OCI manifests in a layout.
      if (oci) {
        Run(fmt::format(
            "skopeo --insecure-policy copy oci-archive:{}/export.tar:v1 dir:{}/dir-{}-{}", top_,
            top_, format, compression));
      }
      // skopeo 1.9 reads no zstd layers in docker's archives.
      if (std::string_view(compression) == "gzip") {
        Run(fmt::format("skopeo --insecure-policy copy docker-archive:{}/export.tar dir:{}/ddir-{}",
                        top_, top_, format));
      }
    }
  }
  // umoci's layouts name images by tag only.
  Run(
      fmt::format("cd {0} && umoci init --layout layout && umoci new --image layout:t1 && mkdir in "
                  "&& echo hi > in/f && umoci insert --image layout:t1 in /in && "
                  "tar -C layout -cf umoci.tar .",
                  top_));
  auto images = ImportFile(top_ + "/umoci.tar",
                           {.rules = {{.name = "docker.io/umoci/made", .is_prefix = true}}});
  ASSERT_TRUE(images.ok()) << images.error().message();
  EXPECT_EQ((*images)[0].name, "docker.io/umoci/made:t1");
}

}  // namespace
}  // namespace gantry::images
