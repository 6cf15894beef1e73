#!/usr/bin/perl
# A disk in memory for each client, as a coprocess (docs/coprocess.md). What is written may be a word to the
# server: soft, force, refuse or shutdown.
use strict;
use warnings;

exit 2 unless ($ARGV[0] // '') eq 'coprocess';
binmode STDIN;
binmode STDOUT;
$| = 1;

my $disk = "\0" x (1024 * 1024);
my %answers = (
    get_size => sub { my ($tag) = @_; output($tag, length $disk) },
    can_write => \&ok,
    can_flush => \&ok,
    flush => \&ok,
    close => \&ok,
    pread => sub { my ($tag, $handle, $count, $offset) = @_; output($tag, substr $disk, $offset, $count) },
    pwrite => \&pwrite,
);

while (my $line = <STDIN>) {
    chomp $line;
    my ($tag, $method, @words) = split / /, $line;
    my $answer = $answers{$method};
    if ($answer) { $answer->($tag, @words) } else { print "$tag missing\n" }
}

sub ok { my ($tag) = @_; print "$tag ok\n" }

sub output { my ($tag, $bytes) = @_; print "$tag ok ", length $bytes, "\n", $bytes }

sub pwrite {
    my ($tag, $handle, $count, $offset) = @_;
    read(STDIN, my $data, $count) == $count or exit 1;
    if ($data =~ /^shutdown/) { print "shutdown\n" }
    elsif ($data =~ /^force/) { print "disconnect $handle force\n" }
    elsif ($data =~ /^soft/) { print "disconnect $handle soft\n" }
    elsif ($data =~ /^refuse/) {
        print "disconnect $handle soft\n$tag error ESHUTDOWN the disk takes no more\n";
        return;
    }
    else { substr $disk, $offset, $count, $data }
    ok($tag);
}
