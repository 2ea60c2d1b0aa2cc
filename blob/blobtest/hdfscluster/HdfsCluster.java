import java.io.BufferedReader;
import java.io.File;
import java.io.InputStreamReader;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.fs.permission.FsPermission;
import org.apache.hadoop.hdfs.DFSTestUtil;
import org.apache.hadoop.hdfs.DistributedFileSystem;
import org.apache.hadoop.hdfs.MiniDFSCluster;
import org.apache.hadoop.hdfs.MiniDFSNNTopology;
import org.apache.hadoop.hdfs.protocol.HdfsConstants;
import org.apache.hadoop.security.UserGroupInformation;

/**
 * An HDFS cluster in one process: two name nodes, the second of which is active, and one data node.
 * Arguments: a directory for its data, and settings, each KEY=VALUE. It says "ready PORT PORT", the
 * ports of the name nodes on 127.0.0.1, and takes commands from standard input, a line each: "damage
 * PATH" changes the first block of a file where it lies, "failover" makes the other name node active,
 * "safemode on" or "off". It answers each with "done". It ends with its input.
 */
public class HdfsCluster {
  public static void main(String[] args) throws Exception {
    System.setProperty("java.net.preferIPv4Stack", "true");
    Configuration conf = new Configuration();
    conf.set(MiniDFSCluster.HDFS_MINIDFS_BASEDIR, new File(args[0]).getAbsolutePath());
    conf.setInt("dfs.namenode.fs-limits.min-block-size", 1 << 20);
    conf.setInt("dfs.blocksize", 8 << 20);
    conf.setInt("dfs.replication", 1);
    conf.setInt("dfs.ha.tail-edits.period", 1);
    conf.setBoolean("dfs.namenode.redundancy.considerLoad", false);
    for (int i = 1; i < args.length; i++) {
      int eq = args[i].indexOf('=');
      conf.set(args[i].substring(0, eq), args[i].substring(eq + 1));
    }
    UserGroupInformation.setConfiguration(conf);
    String keytab = conf.get("dfs.namenode.keytab.file");
    if (keytab != null) {
      UserGroupInformation.loginUserFromKeytab(conf.get("dfs.namenode.kerberos.principal"), keytab);
    }
    MiniDFSCluster cluster = new MiniDFSCluster.Builder(conf).numDataNodes(1)
        .nnTopology(MiniDFSNNTopology.simpleHATopology()).build();
    int active = 1;
    cluster.transitionToActive(active);
    cluster.waitActive();
    DistributedFileSystem fs = cluster.getFileSystem(active);
    fs.mkdirs(new Path("/open"));
    fs.setPermission(new Path("/open"), new FsPermission((short) 0777));
    fs.mkdirs(new Path("/small"));
    fs.setPermission(new Path("/small"), new FsPermission((short) 0777));
    fs.setQuota(new Path("/small"), HdfsConstants.QUOTA_DONT_SET, 12 << 20);
    fs.mkdirs(new Path("/closed"));
    fs.setPermission(new Path("/closed"), new FsPermission((short) 0700));
    System.out.println("ready " + cluster.getNameNodePort(0) + " " + cluster.getNameNodePort(1));
    BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
    for (String line = in.readLine(); line != null; line = in.readLine()) {
      String[] words = line.split(" ", 2);
      switch (words[0]) {
        case "damage":
          cluster.corruptReplica(0, DFSTestUtil.getFirstBlock(cluster.getFileSystem(active), new Path(words[1])));
          break;
        case "failover":
          cluster.transitionToStandby(active);
          active = 1 - active;
          cluster.transitionToActive(active);
          break;
        case "safemode":
          if (words[1].equals("on")) {
            cluster.getNameNodeRpc(active).setSafeMode(HdfsConstants.SafeModeAction.SAFEMODE_ENTER, false);
          } else {
            cluster.getNameNodeRpc(active).setSafeMode(HdfsConstants.SafeModeAction.SAFEMODE_LEAVE, false);
          }
          break;
        default:
          throw new IllegalArgumentException(line);
      }
      System.out.println("done");
    }
    System.exit(0); // its data goes with the directory
  }
}
