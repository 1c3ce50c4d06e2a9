// SPDX-License-Identifier: Apache-2.0
//
// The volumes of an engine: their records, directories and mounts, and who uses them. What is on
// disk is in docs/state-on-disk.md:
//
//   ROOT/volumes/NAME/_data   the files of a volume without mount options
//   RUN/volumes/NAME/_data    where one with mount options is mounted while containers run with it
//
// A record is committed before its directory is made, and a directory is taken away before its
// record: a record without a directory is the rest of either and is dropped at the next start. A
// directory without a record is never deleted: a person has put it there, it becomes a volume.
//
// Users are containers, running or not: they keep a volume from being removed. Mounters are those
// that run. Neither is written down here: both are in the engine's records of containers. Any
// thread; errors speak docker's words.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/mutex.h"
#include "base/unique_fd.h"
#include "volumes/records.h"

namespace gantry::volumes {

struct Options {
  std::string root;  // ROOT/volumes
  std::string run;   // RUN/volumes
  // Takes a directory out of the way at once, deletes it in time; none of that path is no error.
  std::function<Result<>(const std::string& path)> discard;
  RecordStore* records = nullptr;
};

struct CreateRequest {
  std::string name;  // not empty
  std::string driver;
  std::map<std::string, std::string> options;
  std::map<std::string, std::string> labels;
  bool shows_options = false;
  bool shows_labels = false;
  std::string user;  // a container that begins to use it; "" for none
};

class Volumes {
 public:
  // Reads the records and compares them with the directories.
  static Result<std::unique_ptr<Volumes>> Open(Options options);

  struct Created {
    Volume volume;
    bool is_new = false;
  };
  // One of that name that is there already is the answer, whatever the request's options say.
  Result<Created> Create(const CreateRequest& request);
  // kNotFound: "get NAME: no such volume".
  Result<Volume> Get(const std::string& name) const;
  std::vector<Volume> List() const;  // by name
  // kAborted while somebody uses it: "remove NAME: volume is in use - [USERS]".
  Result<> Remove(const std::string& name);

  void AddUser(const std::string& name, const std::string& user);
  void RemoveUser(const std::string& name, const std::string& user);
  std::set<std::string> UsersOf(const std::string& name) const;

  // Where the files are, mounted or not.
  std::string DataPath(const Volume& volume) const;
  // The same once it is there: mounted when the volume needs that, the first mounter makes it so.
  Result<std::string> Mount(const std::string& name, const std::string& mounter);
  // The last mounter's leave takes the mount away. False: it was no mounter.
  Result<bool> Unmount(const std::string& name, const std::string& mounter);
  // After a start of the engine: these run, by volume. Mounts that nobody needs go.
  Result<> Adopt(const std::map<std::string, std::set<std::string>>& mounters);

  // Fills the volume, or the directory `subpath` of it, unless something is in it: `fill` gets an
  // empty directory, which becomes the volume's as a whole or not at all; but for one that is
  // mounted or used by others, and for a part, which are filled in place. A part that is not there
  // is left alone.
  using Fill = std::function<Result<>(BorrowedFd directory)>;
  Result<> Populate(const std::string& name, const std::string& user, const std::string& subpath,
                    const Fill& fill);

  // Bytes in the volume's files; of one with mount options only while it is mounted.
  Result<int64_t> SizeOf(const std::string& name) const;

 private:
  struct State {
    Volume volume;
    std::set<std::string> users;
    std::set<std::string> mounters;
  };
  // Whoever makes, mounts, fills or removes a volume holds its turn; no lock meanwhile.
  class Turn {
   public:
    Turn(Turn&& other) noexcept
        : volumes_(std::exchange(other.volumes_, nullptr)), name_(std::move(other.name_)) {}
    Turn& operator=(Turn&&) = delete;
    ~Turn();

   private:
    friend class Volumes;
    Turn(Volumes* volumes, std::string name) : volumes_(volumes), name_(std::move(name)) {}
    Volumes* volumes_;
    std::string name_;
  };
  Result<Turn> TakeTurn(const std::string& name);

  explicit Volumes(Options options) : options_(std::move(options)) {}
  Result<> LoadRecords();
  Result<> AdoptDirectories();
  Result<> MakeDirectory(const Volume& volume);
  Result<> Discard(const std::string& directory);
  Result<> DiscardUnfinished();
  Result<State> Find(const std::string& name) const;
  Result<> Forget(const Volume& volume);
  Result<> MountNow(const Volume& volume);
  Result<> UnmountNow(const Volume& volume);
  Result<> FillMounted(const Volume& volume, const std::string& subpath, const Fill& fill);
  Result<> FillAsWhole(const std::string& data, const Fill& fill);
  std::string Home(const std::string& name) const { return options_.root + "/" + name; }

  const Options options_;
  bool quotas_ = false;  // set by Open: the file system limits what a volume takes
  mutable Mutex mutex_;
  CondVar turn_free_;
  std::set<std::string> turns_ GUARDED_BY(mutex_);  // names of volumes that somebody works on
  std::map<std::string, State> volumes_ GUARDED_BY(mutex_);
};

}  // namespace gantry::volumes
