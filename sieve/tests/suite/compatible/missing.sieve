require ["fileinto", "editheader"];
addheader "X-Added" "yes";
fileinto "Nowhere";
